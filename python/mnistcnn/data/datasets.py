"""Data sets by name: read from local files, downloaded, or synthetic."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mnistcnn._internal.atomic_files import replacing, write_whole
from mnistcnn._internal.checks import did_you_mean, seed_number, with_hints
from mnistcnn.data.idx import read_idx
from mnistcnn.data.image_set import ImageSet
from mnistcnn.data.sources import DIGITS, SOURCES, Archive, DataFile

__all__ = ["DATASETS", "AutoData", "DownloadError", "available", "load", "load_auto"]


class DownloadError(OSError):
    """Raised if a data set is not on this machine and could not be downloaded; the message lists solutions."""


class AutoData(NamedTuple):
    """Result of `load_auto`."""

    train: ImageSet
    test: ImageSet
    message: str | None  # reason for the fallback; None for MNIST


DATASETS: tuple[str, ...] = (*SOURCES, "digits")  # names that `load` accepts


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

    The directories are searched in this order: `root`, the directory in the environment variable MNISTCNN_DATA, the
    user's cache (another directory if MNISTCNN_CACHE is set), and ./data. In each, the files may be in the subdirectory
    `<name>` (`emnist` for all splits of EMNIST), in torchvision's subdirectory (`MNIST/raw`, `FashionMNIST/raw`, ...),
    or in the directory itself. IDX files may be plain or compressed with gzip. Missing files are downloaded to `root`
    or the cache and verified by their SHA-256. Damaged files in the cache are downloaded again.

    The images of EMNIST are returned upright (the published ones are transposed), with labels from 0 (those of
    `letters` are published from 1). If no mirror has the files of a split, NIST's archive `gzip.zip` of all splits
    (562 MB) is downloaded and kept, so that another split needs no download. An existing archive is used.

    Parameters
    ----------
    name
        ``"mnist"``, ``"fashion_mnist"``, ``"kmnist"``, ``"qmnist"`` (60,000 test images), a split of EMNIST
        (``"emnist-balanced"``, ``"emnist-byclass"``, ``"emnist-bymerge"``, ``"emnist-letters"``, ``"emnist-digits"``,
        ``"emnist-mnist"``), or ``"digits"``: 60,000 training and 10,000 test images of synthetic digits that resemble
        handwriting, generated on this machine.
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
            if not (download and found == _cache_folder() / _own_folder(name)):
                raise
    archive = _find_archive(name, root)
    if archive is not None:
        try:
            return _read(name, _extract(name, archive, _download_folder(name, root)))
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            if not (download and archive.parent == _cache_folder() / _own_folder(name)):
                raise OSError(f"{archive} could not be extracted: {_reason(error)}") from None
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
    return name == "digits" or _find(name, root) is not None or _find_archive(name, root) is not None


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
    for folder in _folders(name, root):
        if all(_local(folder, file) for file in SOURCES[name].files) and _matches(name, folder):
            return folder
    return None


def _find_archive(name: str, root: str | os.PathLike[str] | None) -> Path | None:
    """Return the path of the archive of a data set, or None if there is none."""
    archive = SOURCES[name].archive
    if archive is None:
        return None
    paths = (folder / archive.name for folder in _folders(name, root))
    return next((path for path in paths if path.is_file()), None)


def _folders(name: str, root: str | os.PathLike[str] | None) -> list[Path]:
    """Return the directories that may contain the files of a data set, in search order."""
    source, found = SOURCES[name], []
    for place in _search_folders(root):
        folders = [place / _own_folder(name), place / source.folder / "raw", place]
        found += folders if source.archive is None else [*folders, *(folder / "gzip" for folder in folders)]
    return found


def _own_folder(name: str) -> str:
    return SOURCES[name].own_folder or name


def _local(folder: Path, file: DataFile) -> Path | None:
    for path in (folder / f"{file.name}.gz", folder / file.name):
        if path.is_file():
            return path
    return None


def _matches(name: str, folder: Path) -> bool:
    """Return whether the files in a directory belong to a data set.

    MNIST, Fashion-MNIST and KMNIST use the same file names. The name of the directory decides, then the checksum of the
    test labels. Unknown files are assumed to be MNIST.
    """
    if name == "qmnist" or name.startswith("emnist-"):
        return True
    parts = [re.sub(r"[^a-z]", "", part.lower()) for part in folder.absolute().parts]
    folder_name = parts[-2] if parts[-1] == "raw" and len(parts) > 1 else parts[-1]
    owners = [
        other for other, source in SOURCES.items() if folder_name in (source.folder.lower(), other.replace("_", ""))
    ]
    if owners:
        return name in owners
    labels = _local(folder, SOURCES[name].files[3])  # the smallest file, a few kB
    digest = hashlib.sha256(labels.read_bytes()).hexdigest() if labels else ""
    for other, source in SOURCES.items():
        if source.files[3].sha256 == digest:
            return other == name
    return name == "mnist"


def _check_name(name: str) -> None:
    if name == "emnist":
        splits = ", ".join(each for each in DATASETS if each.startswith("emnist-"))
        raise ValueError(f"name must include the split of EMNIST: one of {splits}; got 'emnist'")
    if name not in DATASETS:
        guess = did_you_mean(str(name).lower().replace("-", "_"), DATASETS)
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}{guess}")


# ---- reading ----


def _read(name: str, folder: Path) -> tuple[ImageSet, ImageSet]:
    images, labels, test_images, test_labels = SOURCES[name].files
    return _read_pair(name, folder, images, labels), _read_pair(name, folder, test_images, test_labels)


def _read_pair(name: str, folder: Path, image_file: DataFile, label_file: DataFile) -> ImageSet:
    image_path, label_path = (_local(folder, file) or folder / f"{file.name}.gz" for file in (image_file, label_file))
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise OSError(f"{image_path}: {images.dtype} of shape {list(images.shape)}, expected uint8 [N, 28, 28]")
    if labels.ndim == 2 and labels.shape[1] == 8 and labels.dtype == np.int32:
        labels = labels[:, 0]  # QMNIST: the class, then the writer and other metadata
    if labels.ndim != 1:
        raise OSError(f"{label_path}: labels of shape {list(labels.shape)}, expected [N]")
    source = SOURCES[name]
    if source.transposed:
        images = _transposed(images)
    if source.first_label:
        if len(labels) and labels.min() < source.first_label:
            raise OSError(f"{label_path}: label {labels.min()}, expected labels from {source.first_label}")
        labels = labels.astype(np.int64) - source.first_label
    try:
        return ImageSet.from_arrays(images, labels, SOURCES[name].classes, name)
    except ValueError as error:
        raise OSError(f"{image_path} and {label_path.name}: {error}") from None


def _transposed(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Exchange rows and columns of square images, u8 [N, H, H], in place if possible: `byclass` has 550 MB."""
    images = images if images.flags.writeable else images.copy()
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        part[...] = part.transpose(0, 2, 1).copy()
    return images


_CHUNK = 4096  # images that are transposed at a time

# ---- download ----

_CONNECTION = re.compile(r"^<?HTTPS?Connection[^)]*\)[^:]*: ")  # the object that raised the error


def _download(name: str, root: str | os.PathLike[str] | None, progress: bool) -> Path:
    """Download missing or damaged files and return their directory.

    Each file is verified before it is renamed to its final name.
    """
    folder, archive = _download_folder(name, root), SOURCES[name].archive
    failures: list[str] = []
    if _download_files(name, folder, progress, failures):
        return folder
    for url in archive.mirrors if archive else ():
        assert archive is not None
        try:
            _fetch_archive(url, archive, folder, progress)
            return _extract(name, folder / archive.name, folder)
        except Exception as error:  # another mirror may work, whatever the error
            failures.append(f"  {url}: {_reason(error)}")
    tried = "\n".join(failures)
    raise DownloadError(f"{name} could not be downloaded. Tried:\n{tried}\n{_advice(name, root)}")


def _download_folder(name: str, root: str | os.PathLike[str] | None) -> Path:
    return (Path(root).expanduser() if root else _cache_folder()) / _own_folder(name)


def _download_files(name: str, folder: Path, progress: bool, failures: list[str]) -> bool:
    """Download missing or damaged files from mirrors. Return False if no mirror has a file, and add the reasons."""
    mirrors = list(SOURCES[name].mirrors)
    for file in SOURCES[name].files:
        tried: list[str] = []
        for mirror in list(mirrors):
            try:
                _fetch(f"{mirror}{file.name}.gz", file, folder, progress)
                break
            except Exception as error:  # another mirror may work, whatever the error
                tried.append(f"  {mirror}{file.name}.gz: {_reason(error)}")
                mirrors.remove(mirror)
                mirrors.append(mirror)  # try it last for the remaining files
        else:
            failures += tried
            return False
    return True


def _fetch(url: str, file: DataFile, folder: Path, progress: bool) -> None:
    path = folder / f"{file.name}.gz"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
        return
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # at most 174 MB (EMNIST), 10 MB otherwise; a killed download leaves no file behind
    _request(url, content, progress)
    _check_digest(hashlib.sha256(content.getbuffer()).hexdigest(), file.sha256)
    write_whole(path, content.getvalue())


def _fetch_archive(url: str, archive: Archive, folder: Path, progress: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / archive.name) as stream:
        hashed = _HashedStream(stream)
        _request(url, hashed, progress)
        _check_digest(hashed.digest.hexdigest(), archive.sha256)


class _HashedStream:
    """Output stream that computes the SHA-256 of the content."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.digest, self.flush = stream, hashlib.sha256(), stream.flush

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._stream.write(content)


def _request(url: str, stream: Any, progress: bool) -> None:
    import pooch

    pooch.HTTPDownloader(progressbar=progress, timeout=10, chunk_size=1 << 16)(url, stream, None)


def _check_digest(digest: str, expected: str) -> None:
    if digest != expected:
        raise ValueError(f"the SHA-256 hash of the content is {digest}, expected {expected}")


def _extract(name: str, archive: Path, folder: Path) -> Path:
    """Extract the four files of a data set from an archive to a directory, verify them, and return the directory."""
    with zipfile.ZipFile(archive) as opened:
        members = {Path(member).name: member for member in opened.namelist()}
        for file in SOURCES[name].files:
            member = members.get(f"{file.name}.gz")
            if member is None:
                raise ValueError(f"{archive} does not contain {file.name}.gz")
            content = opened.read(member)
            try:
                _check_digest(hashlib.sha256(content).hexdigest(), file.sha256)
            except ValueError as error:
                raise ValueError(f"{member}: {error}") from None
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / f"{file.name}.gz", content)
    return folder


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost error, because requests wraps it three times and adds object addresses."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    text = inner if isinstance(inner, str) else str(error)
    lines = _CONNECTION.sub("", text).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _advice(name: str, root: str | os.PathLike[str] | None) -> str:
    files = ", ".join(f"{file.name}.gz" for file in SOURCES[name].files)
    source = SOURCES[name]
    archive = "" if source.archive is None else f", or the archive {source.archive.name}"
    searched = ", ".join(str(place) for place in _search_folders(root))
    return (
        f"Searched: {searched}.\n"
        f"To install it manually, put {files} (or the decompressed files{archive}) into "
        f"{_cache_folder() / _own_folder(name)}, "
        f"or set the environment variable MNISTCNN_DATA to their directory. "
        f'load("digits") needs no download.'
    )


# ---- digits ----

_TRAIN_DIGITS, _TEST_DIGITS = 60_000, 10_000
_SAMPLE = 16  # digits generated again to check that the cached ones are of this version


def _load_digits(seed: int) -> tuple[ImageSet, ImageSet]:
    seed = seed_number(seed)
    arrays = _read_digits(seed)
    if arrays is None:
        arrays = _generated_digits(seed)
        with suppress(OSError):  # the cache is optional
            _write_digits(seed, arrays)
    train_images, train_labels, test_images, test_labels = arrays
    return (
        ImageSet.from_arrays(train_images, train_labels, DIGITS, "digits"),
        ImageSet.from_arrays(test_images, test_labels, DIGITS, "digits"),
    )


def _generated_digits(seed: int) -> list[npt.NDArray[Any]]:
    from mnistcnn._internal.native import core as _core

    train = _core.draw_digits(_TRAIN_DIGITS, seed=seed, first_index=0, threads=0)
    test = _core.draw_digits(_TEST_DIGITS, seed=seed, first_index=_TRAIN_DIGITS, threads=0)
    return [*train, *test]


def _digits_file(seed: int) -> Path:
    return _cache_folder() / "digits" / f"seed{seed}.npz"


def _read_digits(seed: int) -> list[npt.NDArray[Any]] | None:
    """Return the cached arrays, or None if they are missing, damaged, or generated by another version."""
    from mnistcnn._internal.native import core as _core

    counts = (_TRAIN_DIGITS, _TEST_DIGITS)
    try:
        with _digits_file(seed).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:  # with checksums
            arrays = list(stored.values())
        if [array.shape for array in arrays] != [shape for n in counts for shape in ((n, 1, 28, 28), (n,))]:
            return None
    except Exception:  # NumPy raises errors of many kinds for damaged files, such as tokenize.TokenError
        return None
    images, labels = _core.draw_digits(_SAMPLE, seed=seed, first_index=0, threads=1)
    current = np.array_equal(arrays[0][:_SAMPLE], images) and np.array_equal(arrays[1][:_SAMPLE], labels)
    return arrays if current else None


def _write_digits(seed: int, arrays: list[npt.NDArray[Any]]) -> None:
    path = _digits_file(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        np.savez(stream, *arrays)
