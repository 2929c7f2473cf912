"""References to data sets: loaded from the directory or the local data sets, verified by digest, or missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistcnn
from mnistcnn.study import shared_sets
from mnistcnn.study.shared_sets import SetMissingError, SetReference, SharedSets, facts_of


@pytest.fixture(autouse=True)
def _empty_memory():
    shared_sets._loaded.clear()
    yield
    shared_sets._loaded.clear()


@pytest.fixture
def images() -> mnistcnn.ImageSet:
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (20, 1, 5, 4), np.uint8)
    return mnistcnn.ImageSet.from_arrays(pixels, generator.integers(0, 3, 20), ["a", "b", "c"], name="mine")


def same(a: mnistcnn.ImageSet, b: mnistcnn.ImageSet) -> bool:
    arrays = np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
    return arrays and (a.classes, a.name) == (b.classes, b.name)


def test_reference_loads_from_the_directory(images: Any):
    with SharedSets() as files:
        reference = files.reference(images)
        assert files.reference(images) is reference
        found = reference.find()
        assert same(found, images)
        assert reference.find() is found  # kept in memory
    assert not Path(reference.folder).exists()
    assert same(found, images)  # mapped memory remains valid after the file is removed


def test_damaged_file_is_not_used(images: Any):
    with SharedSets() as files:
        reference = files.reference(images)
        (path,) = Path(reference.folder).glob("*-images.npy")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(SetMissingError, match=r"mine \(20 images\) is neither in .* nor among the local data sets"):
            reference.find()


def test_reference_loads_from_local_data_sets(digits: Any):
    reference = SetReference(facts_of(digits[1]), digits[1].classes, "/nowhere")
    assert same(reference.find(), digits[1])
    part = SetReference(facts_of(digits[1][:50]), digits[1].classes, "/nowhere")
    with pytest.raises(SetMissingError, match="digits"):
        part.find()


def test_memory_is_limited(images: Any):
    with SharedSets() as files:
        references = [files.reference(images[start:]) for start in range(8)]
        for reference in references:
            reference.find()
        assert len(shared_sets._loaded) == 4


def test_digest_depends_on_pixels_labels_classes_and_shape(images: Any):
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
