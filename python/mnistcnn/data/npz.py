"""Reader of ``.npz`` files in the layout of MedMNIST: arrays of images and labels for each split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def read_npz(path: Path, split: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int | None]:
    """Return images [N, C, H, W] or [N, H, W] and labels [N] of a split, and the largest label of all splits.

    Raise OSError if the file cannot be read, and ValueError if it has no such split, or arrays of another shape.
    """
    names = [f"{split}_images", f"{split}_labels"]
    try:
        with path.open("rb") as stream:  # opened here, because np.load does not close a damaged file
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise TypeError("it contains one array")
            found = file.files
            labels = [each for each in found if each.endswith("_labels")]
            used = [each for each in labels if each.removesuffix("_labels") + "_images" in found]
            arrays = {each: file[each] for each in (names[0], *used) if each in found}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(f"{path} is damaged: {error}") from None
    except Exception as error:  # NumPy raises errors of many kinds for damaged files
        # NumPy takes every unknown file for a pickled object and advises to load it unsafely.
        reason = "it has another format" if "pickled" in str(error) else error
        raise OSError(f"{path} is damaged or not an .npz file of arrays: {reason}") from None
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path} has no array {missing[0]!r}; its arrays are {', '.join(sorted(found))}")
    images = arrays.pop(names[0])
    numbers = {each: _labels(array, f"{path}: {each}") for each, array in arrays.items()}
    counted = [int(each.max()) for each in numbers.values() if len(each) and each.dtype.kind in "iu"]
    return _images(images, f"{path}: {names[0]}"), numbers[names[1]], max(counted, default=None)


def _labels(labels: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    if labels.ndim == 0:
        raise ValueError(f"{what} is a single number, labels must have shape [N, 1] or [N]")
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise ValueError(
            f"{what} has {labels.shape[1]} labels per image (shape {list(labels.shape)}); data with several labels is "
            "not supported, labels must have shape [N, 1] or [N]"
        )
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _images(images: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    if images.ndim == 3:
        return images
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"{what} has shape {list(images.shape)}, expected [N, H, W] or [N, H, W, C] with 1 or 3 channels; volumes "
            "are not supported"
        )
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
