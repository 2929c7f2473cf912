"""Sets by reference: found in the folder or among the machine's own, checked by digest, and missed clearly."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistcnn
from mnistcnn.study import spool
from mnistcnn.study.spool import SetMissingError, SetReference, Spool, facts_of


@pytest.fixture(autouse=True)
def _forgetful():
    spool._found.clear()
    yield
    spool._found.clear()


@pytest.fixture
def images() -> mnistcnn.ImageSet:
    chance = np.random.default_rng(3)
    pixels = chance.integers(0, 256, (20, 1, 5, 4), np.uint8)
    return mnistcnn.ImageSet.from_arrays(pixels, chance.integers(0, 3, 20), ["a", "b", "c"], name="mine")


def same(a: mnistcnn.ImageSet, b: mnistcnn.ImageSet) -> bool:
    arrays = np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
    return arrays and (a.classes, a.name) == (b.classes, b.name)


def test_a_set_is_found_in_the_folder(images: Any):
    with Spool() as folder:
        reference = folder.lend(images)
        assert folder.lend(images) is reference
        found = reference.find()
        assert same(found, images)
        assert reference.find() is found  # remembered
    assert not Path(reference.folder).exists()
    assert same(found, images)  # the memory outlives the file's name


def test_a_damaged_file_is_not_taken(images: Any):
    with Spool() as folder:
        reference = folder.lend(images)
        (path,) = Path(reference.folder).glob("*-images.npy")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(SetMissingError, match=r"mine \(20 images\) is neither in .* nor among this machine's"):
            reference.find()


def test_what_load_knows_is_found_by_name(digits: Any):
    reference = SetReference(facts_of(digits[1]), digits[1].classes, "/nowhere")
    assert same(reference.find(), digits[1])
    part = SetReference(facts_of(digits[1][:50]), digits[1].classes, "/nowhere")
    with pytest.raises(SetMissingError, match="digits"):
        part.find()


def test_only_a_few_are_remembered(images: Any):
    with Spool() as folder:
        references = [folder.lend(images[start:]) for start in range(8)]
        for reference in references:
            reference.find()
        assert len(spool._found) == 4


def test_the_digest_tells_all_apart(images: Any):
    others = [
        images[::-1],
        images[:19],
        mnistcnn.ImageSet(images.images, (images.labels + 1) % 3, images.classes),
        mnistcnn.ImageSet(images.images, images.labels, ("a", "b", "d")),
        mnistcnn.ImageSet(images.images.reshape(20, 1, 4, 5), images.labels, images.classes),
    ]
    digests = {facts_of(each).digest for each in [images, *others]}
    assert len(digests) == 6
    renamed = dataclasses.replace(images, name="yours")
    assert facts_of(renamed).digest == facts_of(images).digest
