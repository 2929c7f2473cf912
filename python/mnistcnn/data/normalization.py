"""How pixels become the numbers that enter a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet


@dataclass(frozen=True)
class Normalization:
    """A pixel p (0 to 255) enters as ``(p / 255 - mean) / std``, each channel with its own mean and std.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.Normalization(0.1307, 0.3081)
    Normalization(mean=(0.1307,), std=(0.3081,))
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", _floats(self.mean))
        object.__setattr__(self, "std", _floats(self.std))
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean and std must have one number per channel each, got {self.mean} and {self.std}")
        if any(not each > 0 for each in self.std):
            raise ValueError(f"std must be above 0, got {self.std}")

    @classmethod
    def of(cls, images: ImageSet) -> Normalization:
        """With the mean and the deviation of every channel of a set; a channel of one shade is only centred."""
        mean, std = images.mean_std()
        return cls(mean, tuple(each if each > 0 else 1.0 for each in std))

    def for_channels(self, channels: int) -> Normalization:
        """The same for a number of channels; a single value stands for all of them."""
        if len(self.mean) == channels:
            return self
        if len(self.mean) == 1:
            return Normalization(self.mean * channels, self.std * channels)
        raise ValueError(f"a normalization of {len(self.mean)} channels does not fit images of {channels} channels")

    @property
    def scale(self) -> list[float]:
        """Per channel, the factor of a pixel."""
        return [1 / (255 * std) for std in self.std]

    @property
    def shift(self) -> list[float]:
        """Per channel, what is added to the scaled pixel."""
        return [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]


def _floats(values: float | Sequence[float]) -> tuple[float, ...]:
    if isinstance(values, int | float):
        return (float(values),)
    return tuple(float(value) for value in values)


MNIST = Normalization((0.1307,), (0.3081,))  # the mean and deviation of its training set
UNIT = Normalization((0.0,), (1.0,))  # pixels / 255
