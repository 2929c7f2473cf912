"""Data sets by name: read from local files, downloaded, or synthetic."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mnistcnn._internal.atomic_files import replacing, write_whole
from mnistcnn._internal.checks import did_you_mean, with_hints
from mnistcnn._internal.json_data import read_json
from mnistcnn.data.idx import read_idx
from mnistcnn.data.image_set import ImageSet

__all__ = ["DATASETS", "AutoData", "DownloadError", "available", "load", "load_auto"]

_DIGITS = tuple("0123456789")
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")  # お き す つ な は ま や れ を


class DownloadError(OSError):
    """Raised if a data set is not on this machine and could not be downloaded; the message lists solutions."""


class AutoData(NamedTuple):
    """Result of `load_auto`."""

    train: ImageSet
    test: ImageSet
    message: str | None  # reason for the fallback; None for MNIST


@dataclass(frozen=True)
class _File:
    name: str  # without .gz
    sha256: str  # of the official .gz


_Files: TypeAlias = tuple[_File, _File, _File, _File]


@dataclass(frozen=True)
class _Source:
    folder: str  # name of the directory that torchvision uses
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]  # URLs, each completed with the name of a file and .gz
    files: _Files  # train images, train labels, test images, test labels


def _four(train_images: str, train_labels: str, test_images: str, test_labels: str) -> _Files:
    return (
        _File("train-images-idx3-ubyte", train_images),
        _File("train-labels-idx1-ubyte", train_labels),
        _File("t10k-images-idx3-ubyte", test_images),
        _File("t10k-labels-idx1-ubyte", test_labels),
    )


# SHA-256 of the files as first published; TensorFlow Datasets and torchvision use the same.
_SOURCES = {
    "mnist": _Source(
        "MNIST",
        _DIGITS,
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        _four(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion_mnist": _Source(
        "FashionMNIST",
        _FASHION,
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        _four(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "kmnist": _Source(
        "KMNIST",
        _KUZUSHIJI,
        (
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        _four(
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
    "qmnist": _Source(
        "QMNIST",
        _DIGITS,
        (
            "https://raw.githubusercontent.com/facebookresearch/qmnist/master/",
            "https://github.com/facebookresearch/qmnist/raw/master/",
        ),
        (
            _File(
                "qmnist-train-images-idx3-ubyte",
                "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d",
            ),
            _File(
                "qmnist-train-labels-idx2-int",
                "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",
            ),
            _File(
                "qmnist-test-images-idx3-ubyte",
                "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375",
            ),
            _File(
                "qmnist-test-labels-idx2-int",
                "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06",
            ),
        ),
    ),
}

DATASETS: tuple[str, ...] = (*_SOURCES, "digits")  # names that `load` accepts


def _keyword_hint(unknown: dict[str, Any], known: Sequence[str]) -> str:
    """Return the end of an error message about unknown keywords of `load`, such as those of torchvision."""
    first = next(iter(unknown))
    return f"{_KEYWORD_HINTS.get(first) or did_you_mean(first, known) or '.'} Choose from: {', '.join(known)}"


_BOTH_SETS = "; it returns both sets: train_set, test_set = mnistcnn.load('mnist')."
_KEYWORD_HINTS = {
    "train": _BOTH_SETS,
    "split": _BOTH_SETS,
    "transform": "; mnistcnn.train normalizes the images, and its argument augment= takes transforms.",
}


@with_hints(_keyword_hint)
def load(
    name: str = "mnist",
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> tuple[ImageSet, ImageSet]:
    """Return the training set and the test set of a data set; download the files if necessary.

    The files are searched in this order: `root`, the directory in the environment variable MNISTCNN_DATA, the user's
    cache (another directory if MNISTCNN_CACHE is set), and ./data. In each, the files may be in the subdirectory
    `<name>`, in torchvision's subdirectory (`MNIST/raw`, `FashionMNIST/raw`, ...), or in the directory itself. IDX
    files may be plain or compressed with gzip. Missing files are downloaded to `root` or the cache and verified by
    their SHA-256. Damaged files in the cache are downloaded again.

    Parameters
    ----------
    name
        ``"mnist"``, ``"fashion_mnist"``, ``"kmnist"``, ``"qmnist"`` (60,000 test images), or ``"digits"``: 60,000
        training and 10,000 test images of synthetic digits that resemble handwriting, generated on this machine.
    root
        Directory to search first, and to download to instead of the cache. Default: none.
    download
        Download missing files.
    seed
        Seed of the synthetic digits; ignored for other data sets.
    progress
        Show a progress bar while downloading.

    Returns
    -------
    (ImageSet, ImageSet)
        Training set and test set.

    Raises
    ------
    ValueError
        If the name is unknown, or the seed of ``"digits"`` is out of range.
    DownloadError
        If the files are not on this machine and cannot be downloaded. A subclass of OSError.
    OSError
        If a file in `root`, MNISTCNN_DATA or ./data is damaged.

    Examples
    --------
    >>> import mnistcnn
    >>> train, test = mnistcnn.load("digits")
    >>> train
    ImageSet 'digits': 60,000 images 1x28x28, 10 classes (0 … 9)
    """
    _check_name(name)
    if name == "digits":
        return _load_digits(seed)
    found = _find(name, root)
    if found is not None:
        try:
            return _read(name, found)
        except OSError:
            # Only the cache is repaired by another download: other directories belong to the user.
            if not (download and found == _cache_folder() / name):
                raise
    if not download:
        raise DownloadError(f"{name} was not found on this machine, and download=False.\n{_advice(name, root)}")
    return _read(name, _download(name, root, progress))


def available(name: str, *, root: str | os.PathLike[str] | None = None) -> bool:
    """Return whether `load` finds the data set on this machine without downloading.

    Parameters
    ----------
    name
        Name of the data set, as in `load`.
    root
        Directory to search first, as in `load`. Default: none.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.available("digits")
    True
    """
    _check_name(name)
    return name == "digits" or _find(name, root) is not None


def load_auto(*, root: str | os.PathLike[str] | None = None, download: bool = True, progress: bool = True) -> AutoData:
    """Load MNIST, and fall back to ``digits`` if it is not available; the arguments are those of `load`.

    The caller must show the message, so that users do not mistake ``digits`` for MNIST.

    Returns
    -------
    AutoData
        (train, test, message). The message gives the reason for the fallback and is None for MNIST.
    """
    try:
        return AutoData(*load("mnist", root=root, download=download, progress=progress), None)
    except OSError as error:
        message = f"NOT MNIST: using the synthetic data set 'digits', because MNIST is not available.\n{error}"
    return AutoData(*load("digits"), message)


# ---- search ----


def _cache_folder() -> Path:
    named = os.environ.get("MNISTCNN_CACHE")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("mnistcnn"))


def _search_folders(root: str | os.PathLike[str] | None) -> list[Path]:
    """Return the directories that may contain data sets, in search order."""
    named = [root, os.environ.get("MNISTCNN_DATA"), _cache_folder(), "data"]
    return [Path(place).expanduser() for place in named if place]


def _find(name: str, root: str | os.PathLike[str] | None) -> Path | None:
    """Return the first directory that contains all four files of a data set, or None."""
    source = _SOURCES[name]
    for place in _search_folders(root):
        for folder in (place / name, place / source.folder / "raw", place):
            if all(_local(folder, file) for file in source.files) and _matches(name, folder):
                return folder
    return None


def _local(folder: Path, file: _File) -> Path | None:
    for path in (folder / f"{file.name}.gz", folder / file.name):
        if path.is_file():
            return path
    return None


def _matches(name: str, folder: Path) -> bool:
    """Return whether the files in a directory belong to a data set.

    MNIST, Fashion-MNIST and KMNIST use the same file names. The name of the directory decides, then the checksum of the
    test labels. Unknown files are assumed to be MNIST.
    """
    if name == "qmnist":
        return True
    parts = [re.sub(r"[^a-z]", "", part.lower()) for part in folder.absolute().parts]
    folder_name = parts[-2] if parts[-1] == "raw" and len(parts) > 1 else parts[-1]
    owners = [
        other for other, source in _SOURCES.items() if folder_name in (source.folder.lower(), other.replace("_", ""))
    ]
    if owners:
        return name in owners
    labels = _local(folder, _SOURCES[name].files[3])  # the smallest file, a few kB
    digest = hashlib.sha256(labels.read_bytes()).hexdigest() if labels else ""
    for other, source in _SOURCES.items():
        if source.files[3].sha256 == digest:
            return other == name
    return name == "mnist"


def _check_name(name: str) -> None:
    if name not in DATASETS:
        guess = did_you_mean(str(name).lower().replace("-", "_"), DATASETS)
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}{guess}")


# ---- reading ----


def _read(name: str, folder: Path) -> tuple[ImageSet, ImageSet]:
    images, labels, test_images, test_labels = _SOURCES[name].files
    return _read_pair(name, folder, images, labels), _read_pair(name, folder, test_images, test_labels)


def _read_pair(name: str, folder: Path, image_file: _File, label_file: _File) -> ImageSet:
    image_path, label_path = (_local(folder, file) or folder / f"{file.name}.gz" for file in (image_file, label_file))
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise OSError(f"{image_path}: {images.dtype} of shape {list(images.shape)}, expected uint8 [N, 28, 28]")
    if labels.ndim == 2 and labels.shape[1] == 8 and labels.dtype == np.int32:
        labels = labels[:, 0]  # QMNIST: the class, then the writer and other metadata
    if labels.ndim != 1:
        raise OSError(f"{label_path}: labels of shape {list(labels.shape)}, expected [N]")
    try:
        return ImageSet.from_arrays(images, labels, _SOURCES[name].classes, name)
    except ValueError as error:
        raise OSError(f"{image_path} and {label_path.name}: {error}") from None


# ---- download ----

_CONNECTION = re.compile(r"^<?HTTPS?Connection[^)]*\)[^:]*: ")  # the object that raised the error


def _download(name: str, root: str | os.PathLike[str] | None, progress: bool) -> Path:
    """Download missing or damaged files and return their directory.

    Each file is verified before it is renamed to its final name.
    """
    folder = (Path(root).expanduser() if root else _cache_folder()) / name
    mirrors = list(_SOURCES[name].mirrors)
    for file in _SOURCES[name].files:
        failures: list[str] = []
        for mirror in list(mirrors):
            try:
                _fetch(f"{mirror}{file.name}.gz", file, folder, progress)
                break
            except Exception as error:  # another mirror may work, whatever the error
                failures.append(f"  {mirror}{file.name}.gz: {_reason(error)}")
                mirrors.remove(mirror)
                mirrors.append(mirror)  # try it last for the remaining files
        else:
            tried = "\n".join(failures)
            raise DownloadError(f"{name} could not be downloaded. Tried:\n{tried}\n{_advice(name, root)}")
    return folder


def _fetch(url: str, file: _File, folder: Path, progress: bool) -> None:
    import pooch

    path = folder / f"{file.name}.gz"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
        return
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # at most 10 MB; a killed download leaves no file behind
    pooch.HTTPDownloader(progressbar=progress, timeout=10)(url, content, None)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    if digest != file.sha256:
        raise ValueError(f"the SHA-256 hash of the content is {digest}, expected {file.sha256}")
    write_whole(path, content.getvalue())


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost error, because requests wraps it three times and adds object addresses."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    text = inner if isinstance(inner, str) else str(error)
    lines = _CONNECTION.sub("", text).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _advice(name: str, root: str | os.PathLike[str] | None) -> str:
    files = ", ".join(f"{file.name}.gz" for file in _SOURCES[name].files)
    searched = ", ".join(str(place) for place in _search_folders(root))
    return (
        f"Searched: {searched}.\n"
        f"To install it manually, put {files} (or the decompressed files) into {_cache_folder() / name}, "
        f"or set the environment variable MNISTCNN_DATA to their directory. "
        f'load("digits") needs no download.'
    )


# ---- digits ----

_TRAIN_DIGITS, _TEST_DIGITS = 60_000, 10_000
_SAMPLE = 16  # digits generated again to check that the cached ones are of this version


def _load_digits(seed: int) -> tuple[ImageSet, ImageSet]:
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, got {seed}")
    arrays = _read_digits(seed)
    if arrays is None:
        arrays = _generated_digits(seed)
        with suppress(OSError):  # the cache is optional
            _write_digits(seed, arrays)
    train_images, train_labels, test_images, test_labels = arrays
    return (
        ImageSet.from_arrays(train_images, train_labels, _DIGITS, "digits"),
        ImageSet.from_arrays(test_images, test_labels, _DIGITS, "digits"),
    )


def _generated_digits(seed: int) -> list[npt.NDArray[Any]]:
    from mnistcnn._internal.native import core as _core

    train = _core.draw_digits(_TRAIN_DIGITS, seed=seed, first_index=0, threads=0)
    test = _core.draw_digits(_TEST_DIGITS, seed=seed, first_index=_TRAIN_DIGITS, threads=0)
    return [*train, *test]


def _digits_paths(seed: int) -> tuple[list[Path], Path]:
    """Return the paths of the four cached arrays and of the JSON file with their checksums."""
    folder = _cache_folder() / "digits"
    parts = ("train-images", "train-labels", "test-images", "test-labels")
    return [folder / f"seed{seed}-{part}.npy" for part in parts], folder / f"seed{seed}.json"


def _digits_shapes() -> list[tuple[int, ...]]:
    train, test = (_TRAIN_DIGITS,), (_TEST_DIGITS,)
    return [(*train, 1, 28, 28), train, (*test, 1, 28, 28), test]


def _checksum(array: npt.NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _read_digits(seed: int) -> list[npt.NDArray[Any]] | None:
    """Return the cached arrays, or None if they are missing, damaged, or generated by another version."""
    from mnistcnn._internal.native import core as _core

    paths, checksum_file = _digits_paths(seed)
    try:
        checksums = read_json(checksum_file)
        arrays = [np.load(path, allow_pickle=False) for path in paths]
        if checksums != [_checksum(array) for array in arrays] or [array.shape for array in arrays] != _digits_shapes():
            return None
    except Exception:  # NumPy raises errors of many kinds for damaged files, such as tokenize.TokenError
        return None
    images, labels = _core.draw_digits(_SAMPLE, seed=seed, first_index=0, threads=1)
    current = np.array_equal(arrays[0][:_SAMPLE], images) and np.array_equal(arrays[1][:_SAMPLE], labels)
    return arrays if current else None


def _write_digits(seed: int, arrays: list[npt.NDArray[Any]]) -> None:
    paths, checksum_file = _digits_paths(seed)
    checksum_file.parent.mkdir(parents=True, exist_ok=True)
    for path, array in zip(paths, arrays, strict=True):
        with replacing(path) as stream:
            np.save(stream, array, allow_pickle=False)
    with replacing(checksum_file) as stream:
        stream.write(json.dumps([_checksum(array) for array in arrays]).encode())
