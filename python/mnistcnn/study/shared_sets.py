"""Transfer of data sets to workers: sent by reference, and loaded by the worker from local files."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from mnistcnn.data.image_set import ImageSet
from mnistcnn.study.trials import SetFacts

_KEPT = 4  # data sets kept in memory per worker
_loaded: OrderedDict[str, ImageSet] = OrderedDict()  # the most recently used set last
_lock = Lock()  # a worker may have several threads, as those of Dask


class SetMissingError(LookupError):
    """Raised by a worker that cannot load a data set from its reference; the set must be sent by value."""


@dataclass(frozen=True)
class SetReference:
    """Picklable reference to a data set: name, size, digest, classes and the directory with its files."""

    facts: SetFacts
    classes: tuple[str, ...]
    folder: str

    def find(self) -> ImageSet:
        """Load the data set from memory, the directory or the local data sets of `mnistcnn.load`; verify its digest.

        Raises
        ------
        SetMissingError
            If this machine does not have the data set.
        """
        digest = self.facts.digest
        with _lock:
            found = _loaded[digest] = _loaded.get(digest) or self._from_folder() or self._from_datasets()
            _loaded.move_to_end(digest)
            while len(_loaded) > _KEPT:
                _loaded.popitem(last=False)
        return found

    def _from_folder(self) -> ImageSet | None:
        """Map the files into memory, which all workers of a machine share."""
        try:
            images, labels = (np.load(path, mmap_mode="r") for path in _files(Path(self.folder), self.facts.digest))
            found = ImageSet(np.asarray(images), np.asarray(labels), self.classes, self.facts.name)
        except Exception:  # NumPy raises errors of many kinds for damaged files
            return None
        return found if facts_of(found) == self.facts else None

    def _from_datasets(self) -> ImageSet:
        from mnistcnn.data.datasets import load

        try:
            sets: tuple[ImageSet, ...] = load(self.facts.name, download=False)
        except (OSError, ValueError):  # unknown name, or not downloaded
            sets = ()
        for each in sets:
            if facts_of(each) == self.facts:
                return each
        raise SetMissingError(f"{self.facts} is neither in {self.folder} nor among the local data sets")


class SharedSets:
    """Temporary directory of data sets for workers of other processes; removed on exit."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._written: dict[int, tuple[ImageSet, SetReference]] = {}  # keyed by id: each set is hashed once

    def reference(self, images: ImageSet | SetReference) -> SetReference:
        """Write a data set to the directory, once, and return its reference."""
        if isinstance(images, SetReference):
            return images
        if id(images) not in self._written:
            self._written[id(images)] = (images, self._write(images))
        return self._written[id(images)][1]

    def _write(self, images: ImageSet) -> SetReference:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mnistcnn-")
        facts = facts_of(images)
        paths = _files(Path(self._folder.name), facts.digest)
        np.save(paths[0], images.images)
        np.save(paths[1], images.labels)
        return SetReference(facts, images.classes, self._folder.name)

    def __enter__(self) -> SharedSets:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def facts_of(images: ImageSet) -> SetFacts:
    """Return the name, size and digest of a data set."""
    digest = hashlib.sha256(f"{images.images.shape} {images.classes}".encode())
    digest.update(images.images.data)
    digest.update(images.labels.data)
    return SetFacts(images.name, len(images), digest.hexdigest())


def _files(folder: Path, digest: str) -> tuple[Path, Path]:
    return folder / f"{digest}-images.npy", folder / f"{digest}-labels.npy"
