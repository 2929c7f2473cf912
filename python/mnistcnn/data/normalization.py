"""Normalization of pixels for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation that convert a pixel p (0 to 255) to ``(p / 255 - mean) / std``.

    Parameters
    ----------
    mean
        Mean of each channel, for pixels in [0, 1]: one number per channel, or a single number.
    std
        Standard deviation of each channel, for pixels in [0, 1], with as many numbers as `mean`.

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
        object.__setattr__(self, "mean", _floats(self.mean))
        object.__setattr__(self, "std", _floats(self.std))
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                f"mean and std must have one number per channel each, got mean={self.mean} and std={self.std}"
            )
        if any(not each > 0 for each in self.std):
            raise ValueError(f"std must be above 0, got {self.std}")

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


def _floats(values: float | Sequence[float]) -> tuple[float, ...]:
    if isinstance(values, int | float):
        return (float(values),)
    return tuple(float(value) for value in values)


MNIST = Normalization((0.1307,), (0.3081,))  # mean and standard deviation of its training set
UNIT = Normalization((0.0,), (1.0,))  # pixels / 255
