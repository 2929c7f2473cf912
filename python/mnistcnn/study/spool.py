"""Data sets on their way to other processes and machines: sent as a name, found where the work is done."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnistcnn.data.image_set import ImageSet
from mnistcnn.study.trials import SetFacts

_KEPT = 4  # sets that a worker remembers
_found: OrderedDict[str, ImageSet] = OrderedDict()


class SetMissingError(LookupError):
    """A worker can't find a set by its reference; it has to be sent."""


@dataclass(frozen=True)
class SetReference:
    """A set as a few words. A worker looks into its memory, the folder, and what `mnistcnn.load` has there."""

    facts: SetFacts
    classes: tuple[str, ...]
    folder: str

    def find(self) -> ImageSet:
        """The set itself, checked by its digest.

        Raises
        ------
        SetMissingError
            When this machine hasn't got it.
        """
        digest = self.facts.digest
        if digest not in _found:
            _found[digest] = self._from_folder() or self._from_cache()
            while len(_found) > _KEPT:
                _found.popitem(last=False)
        _found.move_to_end(digest)
        return _found[digest]

    def _from_folder(self) -> ImageSet | None:
        """Mapped into memory, so that all workers of a machine share it."""
        try:
            images, labels = (np.load(path, mmap_mode="r") for path in _files(Path(self.folder), self.facts.digest))
            found = ImageSet(np.asarray(images), np.asarray(labels), self.classes, self.facts.name)
        except (OSError, ValueError, TypeError):
            return None
        return found if facts_of(found) == self.facts else None

    def _from_cache(self) -> ImageSet:
        from mnistcnn.data.datasets import load

        try:
            sets: tuple[ImageSet, ...] = load(self.facts.name, download=False)
        except (OSError, ValueError):  # nothing of that name, or not here
            sets = ()
        for each in sets:
            if facts_of(each) == self.facts:
                return each
        raise SetMissingError(f"{self.facts} is neither in {self.folder} nor among this machine's data sets")


class Spool:
    """A temporary folder of the sets that workers of other processes read; gone at the end."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lent: dict[int, tuple[ImageSet, SetReference]] = {}  # by identity, so that each is digested once

    def lend(self, images: ImageSet | SetReference) -> SetReference:
        """Writes a set, once, and gives the reference to it."""
        if isinstance(images, SetReference):
            return images
        if id(images) not in self._lent:
            self._lent[id(images)] = (images, self._written(images))
        return self._lent[id(images)][1]

    def _written(self, images: ImageSet) -> SetReference:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mnistcnn-")
        facts = facts_of(images)
        paths = _files(Path(self._folder.name), facts.digest)
        np.save(paths[0], images.images)
        np.save(paths[1], images.labels)
        return SetReference(facts, images.classes, self._folder.name)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def facts_of(images: ImageSet) -> SetFacts:
    """Name, size and digest of a set."""
    digest = hashlib.sha256(f"{images.images.shape} {images.classes}".encode())
    digest.update(images.images.data)
    digest.update(images.labels.data)
    return SetFacts(images.name, len(images), digest.hexdigest())


def _files(folder: Path, digest: str) -> tuple[Path, Path]:
    return folder / f"{digest}-images.npy", folder / f"{digest}-labels.npy"
