"""Normalization of pixels for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from mnistcnn._internal.checks import numbers, without_array

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet

_LARGEST = 1e9  # normalized pixels stay finite in float32


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation that convert a pixel p (0 to 255) to ``(p / 255 - mean) / std``.

    Parameters
    ----------
    mean
        Mean of each channel, for pixels in [0, 1]: one number per channel, or a single number. -1e9 to 1e9.
    std
        Standard deviation of each channel, for pixels in [0, 1], with as many numbers as `mean`. 1e-9 to 1e9.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.Normalization(0.1307, 0.3081)
    Normalization(mean=(0.1307,), std=(0.3081,))
    >>> mnistcnn.Normalization.of(mnistcnn.load("digits")[0][:1000]).for_channels(1).scale[0] > 0
    True
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", _floats("mean", self.mean, minimum=-_LARGEST))
        object.__setattr__(self, "std", _floats("std", self.std, minimum=1 / _LARGEST))
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                f"mean and std must have one number per channel each, got mean={self.mean} and std={self.std}"
            )

    @classmethod
    def of(cls, images: ImageSet) -> Normalization:
        """Return the normalization with the mean and standard deviation of each channel of an image set.

        The standard deviation of a constant channel is replaced by 1.
        """
        mean, std = images.mean_std()
        return cls(mean, tuple(each if each > 0 else 1.0 for each in std))

    def for_channels(self, channels: int) -> Normalization:
        """Return this normalization for a number of channels; repeat a single mean and std for all of them."""
        if len(self.mean) == channels:
            return self
        if len(self.mean) == 1:
            return Normalization(self.mean * channels, self.std * channels)
        raise ValueError(f"a normalization of {len(self.mean)} channels does not match images with {channels} channels")

    @property
    def scale(self) -> list[float]:
        """Factor of a pixel (0 to 255) for each channel: ``1 / (255 * std)``."""
        return [1 / (255 * std) for std in self.std]

    @property
    def shift(self) -> list[float]:
        """Offset that is added to the scaled pixel for each channel: ``-mean / std``."""
        return [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]


def _floats(name: str, values: float | Sequence[float], *, minimum: float) -> tuple[float, ...]:
    values = without_array(values)
    return numbers(name, (values,) if isinstance(values, Real) else values, minimum=minimum, maximum=_LARGEST)


MNIST = Normalization((0.1307,), (0.3081,))  # mean and standard deviation of its training set
UNIT = Normalization((0.0,), (1.0,))  # pixels / 255
