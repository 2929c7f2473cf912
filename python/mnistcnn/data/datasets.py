"""The data sets by name: found on this machine, downloaded, or drawn."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mnistcnn._internal.atomic_files import replacing
from mnistcnn._internal.checks import did_you_mean
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
    """A data set is neither on this machine nor could it be downloaded: what was tried, and what helps."""


class AutoData(NamedTuple):
    """What `load_auto` found."""

    train: ImageSet
    test: ImageSet
    message: str | None  # why it is not MNIST


@dataclass(frozen=True)
class _File:
    name: str  # without .gz
    sha256: str  # of the official .gz


_Files: TypeAlias = tuple[_File, _File, _File, _File]


@dataclass(frozen=True)
class _Source:
    folder: str  # torchvision's name for it
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]  # addresses to which a file's name and .gz are appended
    files: _Files  # train images, train labels, test images, test labels


def _four(train_images: str, train_labels: str, test_images: str, test_labels: str) -> _Files:
    return (
        _File("train-images-idx3-ubyte", train_images),
        _File("train-labels-idx1-ubyte", train_labels),
        _File("t10k-images-idx3-ubyte", test_images),
        _File("t10k-labels-idx1-ubyte", test_labels),
    )


# The checksums are those of the files as first published; TensorFlow Datasets and torchvision have the same.
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

DATASETS: tuple[str, ...] = (*_SOURCES, "digits")  # the names that `load` knows


def load(
    name: str = "mnist",
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> tuple[ImageSet, ImageSet]:
    """The training and the test set of a data set.

    Files are looked for in `root`, then in the folder that the environment variable MNISTCNN_DATA names, in
    the user's cache (MNISTCNN_CACHE moves it) and in ./data: in the folder itself, in `<name>/` and in
    torchvision's `MNIST/raw`, `FashionMNIST/raw`, ... The IDX files may be gzipped or not. What is found
    nowhere is downloaded, checked and kept.

    Parameters
    ----------
    name : str
        ``"mnist"``, ``"fashion_mnist"``, ``"kmnist"``, ``"qmnist"`` (its test set has 60,000 images), or
        ``"digits"``: 60,000 + 10,000 handwritten-looking digits that are drawn on this machine.
    root : path, optional
        A folder to look in first, and to download to instead of the cache.
    download : bool
        Whether to download what is not there.
    seed : int
        For ``"digits"`` only: another seed gives other digits.
    progress : bool
        Show a progress bar while downloading.

    Returns
    -------
    (ImageSet, ImageSet)
        For training and for testing.

    Raises
    ------
    ValueError
        There is no data set of this name.
    DownloadError
        The files are not here and can't be downloaded; it is an OSError.
    OSError
        A file in `root`, MNISTCNN_DATA or ./data is damaged.

    Examples
    --------
    >>> train, test = load("digits", seed=1)
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
            # Our own cache is repaired by downloading again; other folders are the user's to repair.
            if not (download and found == _cache_folder() / name):
                raise
    if not download:
        raise DownloadError(f"{name} was not found on this machine and download is off.\n{_advice(name, root)}")
    return _read(name, _download(name, root, progress))


def available(name: str, *, root: str | os.PathLike[str] | None = None) -> bool:
    """Whether `load` finds the data set on this machine, without downloading.

    Examples
    --------
    >>> available("digits")
    True
    """
    _check_name(name)
    return name == "digits" or _find(name, root) is not None


def load_auto(*, root: str | os.PathLike[str] | None = None, download: bool = True, progress: bool = True) -> AutoData:
    """MNIST when it is here or can be downloaded, and else ``digits`` with a message that says why.

    Whoever calls this shows the message, so that nobody takes the one for the other. The arguments are those of `load`.

    Returns
    -------
    AutoData
        (train, test, message); the message is None for MNIST.
    """
    try:
        return AutoData(*load("mnist", root=root, download=download, progress=progress), None)
    except OSError as error:
        message = f"NOT MNIST: using the drawn data set 'digits' instead, because MNIST can't be had.\n{error}"
    return AutoData(*load("digits"), message)


# ---- finding ----


def _cache_folder() -> Path:
    named = os.environ.get("MNISTCNN_CACHE")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("mnistcnn"))


def _places(root: str | os.PathLike[str] | None) -> list[Path]:
    """The folders that may hold data sets, in the order of search."""
    named = [root, os.environ.get("MNISTCNN_DATA"), _cache_folder(), "data"]
    return [Path(place).expanduser() for place in named if place]


def _find(name: str, root: str | os.PathLike[str] | None) -> Path | None:
    """The first folder that holds all four files."""
    source = _SOURCES[name]
    for place in _places(root):
        for folder in (place / name, place / source.folder / "raw", place):
            if all(_local(folder, file) for file in source.files) and _belongs(name, folder):
                return folder
    return None


def _local(folder: Path, file: _File) -> Path | None:
    for path in (folder / f"{file.name}.gz", folder / file.name):
        if path.is_file():
            return path
    return None


def _belongs(name: str, folder: Path) -> bool:
    """Whether the files here are this data set's: MNIST, Fashion-MNIST and KMNIST use the same file names."""
    if name == "qmnist":
        return True
    parts = [re.sub(r"[^a-z]", "", part.lower()) for part in folder.absolute().parts]
    word = parts[-2] if parts[-1] == "raw" and len(parts) > 1 else parts[-1]
    owners = [other for other, source in _SOURCES.items() if word in (source.folder.lower(), other.replace("_", ""))]
    if owners:
        return name in owners
    labels = _local(folder, _SOURCES[name].files[3])  # a few kB
    digest = hashlib.sha256(labels.read_bytes()).hexdigest() if labels else ""
    for other, source in _SOURCES.items():
        if source.files[3].sha256 == digest:
            return other == name
    return name == "mnist"


def _check_name(name: str) -> None:
    if name not in DATASETS:
        guess = did_you_mean(str(name).lower().replace("-", "_"), DATASETS)
        raise ValueError(f"unknown data set {name!r}, choose one of {', '.join(DATASETS)}{guess}")


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
        labels = labels[:, 0]  # QMNIST: the class, then the writer and other facts
    if labels.ndim != 1:
        raise OSError(f"{label_path}: labels of shape {list(labels.shape)}, expected [N]")
    try:
        return ImageSet.from_arrays(images, labels, _SOURCES[name].classes, name)
    except ValueError as error:
        raise OSError(f"{image_path} and {label_path.name}: {error}") from None


# ---- downloading ----

_CONNECTION = re.compile(r"^<?HTTPS?Connection[^)]*\)[^:]*: ")  # which object said it


def _download(name: str, root: str | os.PathLike[str] | None, progress: bool) -> Path:
    """Fetch the files that are missing or damaged. A file appears under its name only whole and verified."""
    folder = (Path(root).expanduser() if root else _cache_folder()) / name
    mirrors = list(_SOURCES[name].mirrors)
    for file in _SOURCES[name].files:
        failures: list[str] = []
        for mirror in list(mirrors):
            try:
                _fetch(f"{mirror}{file.name}.gz", file, folder, progress)
                break
            except Exception as error:  # whatever is wrong with a mirror, the next may do
                failures.append(f"  {mirror}{file.name}.gz: {_reason(error)}")
                mirrors.remove(mirror)
                mirrors.append(mirror)  # asked last from now on
        else:
            tried = "\n".join(failures)
            raise DownloadError(f"{name} could not be downloaded. Tried:\n{tried}\n{_advice(name, root)}")
    return folder


def _fetch(url: str, file: _File, folder: Path, progress: bool) -> None:
    import pooch

    with _quiet(pooch.get_logger()):
        pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}",
            fname=f"{file.name}.gz",
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=progress, timeout=10),
        )


@contextmanager
def _quiet(logger: Any) -> Iterator[None]:
    """Without pooch's advice to note down the checksum."""
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """The first line of what went wrong at the bottom; requests wraps it three times, with addresses of objects."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    text = inner if isinstance(inner, str) else str(error)
    lines = _CONNECTION.sub("", text).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _advice(name: str, root: str | os.PathLike[str] | None) -> str:
    files = ", ".join(f"{file.name}.gz" for file in _SOURCES[name].files)
    looked = ", ".join(str(place) for place in _places(root))
    return (
        f"Looked in: {looked}.\n"
        f"By hand: put {files} (or the unpacked files) into {_cache_folder() / name}, "
        f"or name their folder in the environment variable MNISTCNN_DATA. "
        f'load("digits") needs no download.'
    )


# ---- digits ----

_TRAIN_DIGITS, _TEST_DIGITS = 60_000, 10_000
_PROBE = 16  # digits drawn anew to see whether a cache is of this version's pen


def _load_digits(seed: int) -> tuple[ImageSet, ImageSet]:
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be between 0 and 2^64 - 1, got {seed}")
    arrays = _read_digits(seed)
    if arrays is None:
        arrays = _drawn_digits(seed)
        with suppress(OSError):  # a cache that can't be written saves no time and does no harm
            _write_digits(seed, arrays)
    train_images, train_labels, test_images, test_labels = arrays
    return (
        ImageSet.from_arrays(train_images, train_labels, _DIGITS, "digits"),
        ImageSet.from_arrays(test_images, test_labels, _DIGITS, "digits"),
    )


def _drawn_digits(seed: int) -> list[npt.NDArray[Any]]:
    from mnistcnn._internal.native import core as _core

    train = _core.draw_digits(_TRAIN_DIGITS, seed=seed, first_index=0, threads=0)
    test = _core.draw_digits(_TEST_DIGITS, seed=seed, first_index=_TRAIN_DIGITS, threads=0)
    return [*train, *test]


def _digits_paths(seed: int) -> tuple[list[Path], Path]:
    """The four arrays, and the note of their checksums that makes them valid."""
    folder = _cache_folder() / "digits"
    parts = ("train-images", "train-labels", "test-images", "test-labels")
    return [folder / f"seed{seed}-{part}.npy" for part in parts], folder / f"seed{seed}.json"


def _checksum(array: npt.NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _read_digits(seed: int) -> list[npt.NDArray[Any]] | None:
    """The cached arrays, or None when they are not there, damaged, or drawn by another version."""
    from mnistcnn._internal.native import core as _core

    paths, note = _digits_paths(seed)
    try:
        checksums = json.loads(note.read_text())
        arrays = [np.load(path, allow_pickle=False) for path in paths]
        if checksums != [_checksum(array) for array in arrays]:
            return None
    except (OSError, ValueError, EOFError):
        return None
    images, labels = _core.draw_digits(_PROBE, seed=seed, first_index=0, threads=1)
    same_pen = np.array_equal(arrays[0][:_PROBE], images) and np.array_equal(arrays[1][:_PROBE], labels)
    return arrays if same_pen else None


def _write_digits(seed: int, arrays: list[npt.NDArray[Any]]) -> None:
    paths, note = _digits_paths(seed)
    note.parent.mkdir(parents=True, exist_ok=True)
    for path, array in zip(paths, arrays, strict=True):
        with replacing(path) as stream:
            np.save(stream, array, allow_pickle=False)
    with replacing(note) as stream:
        stream.write(json.dumps([_checksum(array) for array in arrays]).encode())
