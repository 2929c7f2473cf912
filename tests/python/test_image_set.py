"""ImageSet: conversion, validation, indexing and splitting."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnistcnn.data.image_set import ImageSet


def make(count: int = 20, classes: int = 10, shape: tuple[int, ...] = (1, 28, 28)) -> ImageSet:
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    return ImageSet.from_arrays(images, np.arange(count) % classes, classes=classes, name="random")


# ---- from_arrays ----


def test_from_arrays():
    data = ImageSet.from_arrays(np.zeros((4, 28, 28), np.uint8), [0, 1, 2, 1])
    assert data.images.shape == (4, 1, 28, 28)
    assert data.labels.tolist() == [0, 1, 2, 1]
    assert (data.num_classes, data.shape, len(data)) == (3, (1, 28, 28), 4)
    assert data.class_counts().tolist() == [1, 2, 1]


def test_uint8_images_are_not_copied_and_read_only():
    images = np.zeros((4, 3, 8, 8), np.uint8)
    labels = np.zeros(4, np.int64)
    data = ImageSet.from_arrays(images, labels)
    assert np.shares_memory(data.images, images)
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 1
    with pytest.raises(AttributeError):
        data.name = "other"  # type: ignore[misc]
    images[0] = 1  # the caller's array is still writable


@pytest.mark.parametrize("subset", [slice(None), slice(1, 3)])
def test_labels_are_copied(subset: slice):
    labels = np.array([0, 1, 2, 1])
    data = ImageSet(np.zeros((4, 1, 2, 2), np.uint8), labels, ("a", "b", "c"))[subset]
    labels[:] = 10**6
    assert data.labels.tolist() == [0, 1, 2, 1][subset]
    with pytest.raises(ValueError, match="WRITEABLE"):
        data.labels.flags.writeable = True


def test_transposed_images_become_contiguous():
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    data = ImageSet.from_arrays(images.transpose(0, 3, 1, 2), [0, 1])
    assert data.images.flags.c_contiguous
    assert data.images[1, 2, 3, 4] == images[1, 3, 4, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_uint8(dtype: Any):
    values = np.arange(256) / 255
    data = ImageSet.from_arrays(values.astype(dtype).reshape(1, 1, 16, 16), [0])
    expected = np.arange(256).reshape(1, 1, 16, 16)
    assert np.abs(data.images.astype(int) - expected).max() <= (0 if dtype != np.float16 else 1)
    if dtype != np.float16:
        assert (data.images == expected).all()


def test_tensors_are_converted():
    torch = pytest.importorskip("torch")
    images = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 1, 0], dtype=torch.int32)
    data = ImageSet.from_arrays(images, labels)
    assert data.images.ctypes.data == images.data_ptr()
    assert data.labels.tolist() == [0, 1, 2, 1, 0]
    for dtype in (torch.float32, torch.bfloat16):
        grey = ImageSet.from_arrays(torch.full((2, 1, 4, 4), 0.5, dtype=dtype), torch.tensor([0, 0]))
        assert (grey.images == 128).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64, ">i4"])
def test_labels_of_all_integer_types(dtype: Any):
    data = ImageSet.from_arrays(np.zeros((3, 2, 2), np.uint8), np.array([0, 2, 1], dtype))
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == [0, 2, 1]


def test_class_names():
    images, labels = np.zeros((3, 2, 2), np.uint8), [0, 1, 0]
    assert ImageSet.from_arrays(images, labels).classes == ("0", "1")
    assert ImageSet.from_arrays(images, labels, classes=3).classes == ("0", "1", "2")
    assert ImageSet.from_arrays(images, labels, classes=["cat", "dog"]).classes == ("cat", "dog")
    with pytest.raises(ValueError, match="label 1 at index 1 is out of range"):
        ImageSet.from_arrays(images, labels, classes=1)
    with pytest.raises(ValueError, match="at least one class"):
        ImageSet.from_arrays(images, labels, classes=0)
    with pytest.raises(TypeError, match=r"classes must be .*got .*'cat'"):
        ImageSet.from_arrays(images, labels, classes="cat")
    for wrong in ({"0": "cat", "1": "dog"}, {"cat", "dog"}, True, 2.0):
        with pytest.raises(TypeError, match="classes must be a number or a sequence of names, got"):
            ImageSet.from_arrays(images, labels, classes=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"label 1000000 at index 1 .*1,000,001 classes"):
        ImageSet.from_arrays(images, [0, 1_000_000, 0])


GOOD_IMAGES, GOOD_LABELS = np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1])


@pytest.mark.parametrize(
    ("images", "labels", "error", "text"),
    [
        (GOOD_IMAGES.astype(np.int64), GOOD_LABELS, TypeError, r"uint8 or floats in \[0, 1\], got int64"),
        (GOOD_IMAGES.astype(bool), GOOD_LABELS, TypeError, "got bool"),
        (GOOD_IMAGES.astype(np.complex64), GOOD_LABELS, TypeError, "got complex64"),
        (GOOD_IMAGES + 255.0, GOOD_LABELS, ValueError, "found 255.*divide by 255"),
        (GOOD_IMAGES - 0.5, GOOD_LABELS, ValueError, "found -0.5"),
        (GOOD_IMAGES + np.nan, GOOD_LABELS, ValueError, "NaN"),
        (GOOD_IMAGES + np.inf, GOOD_LABELS, ValueError, "found inf"),
        (
            np.zeros((2, 16), np.uint8),
            GOOD_LABELS,
            ValueError,
            r"\[N, C, H, W\] or \[N, H, W\], got \[2, 16\]",
        ),
        (np.zeros((2, 28, 28, 1), np.uint8), GOOD_LABELS, ValueError, r"look like \[N, H, W, C\].*transpose"),
        (np.zeros((2, 32, 32, 3), np.uint8), GOOD_LABELS, ValueError, r"transpose\(0, 3, 1, 2\)"),
        (np.zeros((0, 1, 4, 4), np.uint8), [], ValueError, r"images must not be empty, got shape \[0, 1, 4, 4\]"),
        ([[[1, 2]], [[1]]], GOOD_LABELS, ValueError, "images cannot be converted"),
        (GOOD_IMAGES, [0], ValueError, "images and labels must have the same length, got 2 and 1"),
        (GOOD_IMAGES, [0, -1], ValueError, "label -1 at index 1 is out of range"),
        (GOOD_IMAGES, [0.0, 1.0], TypeError, "labels must be integers, got float64"),
        (GOOD_IMAGES, [True, False], TypeError, "got bool"),
        (GOOD_IMAGES, ["a", "b"], TypeError, r"labels must be integers, got <U1; .* numpy\.unique\(labels, return_inv"),
        (GOOD_IMAGES, [[0], [1]], ValueError, r"labels must have shape \[N\], got \[2, 1\]$"),
        (GOOD_IMAGES, np.eye(2), ValueError, r"labels must have shape \[N\], got \[2, 2\]; .* labels\.argmax\(1\)"),
        (GOOD_IMAGES, np.array([0, 2**64 - 1], np.uint64), ValueError, "at index 1 is too large"),
    ],
)
def test_invalid_arrays_raise(images: Any, labels: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        ImageSet.from_arrays(images, labels)


def test_the_constructor_does_not_convert():
    with pytest.raises(TypeError, match="from_arrays"):
        ImageSet(np.zeros((1, 1, 2, 2)), np.zeros(1, np.int64), ("0",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="from_arrays"):
        ImageSet(np.zeros((1, 1, 2, 2), np.uint8), np.zeros(1, np.int32), ("0",))  # type: ignore[arg-type]


# ---- indexing ----


def test_an_integer_index_returns_image_and_label():
    data = make()
    for index in (3, np.int64(3), -17, np.array(3)):
        image, label = data[index]  # type: ignore[misc, index]
        assert image.shape == (1, 28, 28)
        assert (image == data.images[3]).all()
        assert label == 3
        assert isinstance(label, int)


@pytest.mark.parametrize("index", [20, -21, 10**20])
def test_an_integer_index_out_of_range_raises(index: int):
    with pytest.raises(IndexError, match=f"index {index} is out of range for 20 images"):
        make()[index]


def test_slices_share_memory():
    data = make()
    part = data[5:15]
    assert np.shares_memory(part.images, data.images)
    assert part.labels.tolist() == data.labels[5:15].tolist()
    assert part.classes == data.classes
    assert len(data[3:3]) == 0
    assert data[::-2].images.flags.c_contiguous
    assert (data[::-2].images == data.images[::-2]).all()


def test_arrays_of_indices_and_masks():
    data = make()
    assert data[[3, -1, 3]].labels.tolist() == [3, 9, 3]
    assert data[np.array([1, 2], np.uint8)].labels.tolist() == [1, 2]
    assert data[data.labels == 4].labels.tolist() == [4, 4]
    assert len(data[[]]) == 0
    assert not np.shares_memory(data[[0]].images, data.images)


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        ([0, 20], IndexError, "index 20 is out of range for 20 images"),
        ([0, -21], IndexError, "index -21"),
        ([[0]], IndexError, "one dimension"),
        (np.ones(3, bool), IndexError, "mask must have one value per image, got 3 .*20 images"),
        ([0.5], TypeError, "integers or a boolean mask"),
        (True, TypeError, "index must be an integer, a slice, .*, got True"),
        ("a", TypeError, "index must be an integer, a slice, .*, got 'a'"),
        (None, TypeError, "got None"),
        (1.5, TypeError, "got 1.5"),
    ],
)
def test_invalid_indices_raise(index: Any, error: Any, text: str):
    with pytest.raises(error, match=text):
        make()[index]


def test_iteration_yields_images_and_labels():
    data = make(3)
    assert [label for _, label in data] == [0, 1, 2]
    assert all((image == data.images[i]).all() for i, (image, _) in enumerate(data))


# ---- split ----


@pytest.mark.parametrize("stratified", [True, False])
def test_split_is_a_partition(stratified: bool):
    data = make(1003, classes=7)
    rest, part = data.split(0.1, seed=3, stratified=stratified)
    assert (len(rest), len(part)) == (903, 100)
    together = np.concatenate([rest.images, part.images]).reshape(1003, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, data.images.reshape(1003, -1)))
    again = data.split(100, seed=3, stratified=stratified)[1]
    assert (again.images == part.images).all()
    assert (data.split(100, seed=4, stratified=stratified)[1].images != part.images).any()


def test_split_keeps_the_proportions_to_within_one_image():
    print("seed 7")
    generator = np.random.default_rng(7)
    for _ in range(50):
        count = int(generator.integers(20, 400))
        labels = np.minimum(generator.integers(0, 12, count), 9)
        data = ImageSet.from_arrays(np.zeros((count, 1, 1), np.uint8), labels, classes=10)
        size = int(generator.integers(1, count))
        _, part = data.split(size, seed=1)
        assert len(part) == size
        exact = data.class_counts() * size / count
        assert (np.abs(part.class_counts() - exact) < 1).all()


def test_split_does_not_depend_on_the_machine():
    data = ImageSet.from_arrays(np.zeros((12, 1, 1), np.uint8), np.arange(12), classes=12)
    _, part = data.split(4, seed=42, stratified=False)
    assert part.labels.tolist() == [1, 3, 8, 9]  # smallest values of Stream(42, Purpose::kSplit) in C++


@pytest.mark.parametrize(
    ("part", "error"),
    [
        *((wrong, ValueError) for wrong in (0, 20, -1, 0.0, 1.0, 1.5, 0.001, float("nan"))),
        (True, TypeError),
    ],
)
def test_invalid_parts_raise(part: float, error: type[Exception]):
    with pytest.raises(error):
        make().split(part)


# ---- statistics, repr and pickling ----


def test_wrong_arguments_of_split_raise():
    data = ImageSet.from_arrays(np.zeros((10, 2, 2), np.uint8), np.arange(10) % 2)
    with pytest.raises(TypeError, match=r"part must be a fraction or a number of images, got '0.1'"):
        data.split("0.1")
    for seed in (1.5, -1):
        with pytest.raises(ValueError, match=f"seed must be an integer from 0 to .*, got {seed}"):
            data.split(0.2, seed=seed)


def test_mean_std_is_exact():
    data = make(50, shape=(3, 9, 11))
    means, deviations = data.mean_std()
    pixels = data.images / 255
    assert means == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-12)
    assert deviations == pytest.approx(pixels.std((0, 2, 3)), rel=1e-10)
    assert data[::-1].mean_std() == (means, deviations)
    with pytest.raises(ValueError, match=r"must have at least one image .*got none"):
        data[:0].mean_std()


def test_repr():
    assert repr(make()) == "ImageSet 'random': 20 images 1x28x28, 10 classes (0 … 9)"
    one = ImageSet.from_arrays(np.zeros((1, 3, 2, 2), np.uint8), [0], classes=["cat", "dog"])
    assert repr(one) == "ImageSet 'custom': 1 image 3x2x2, 2 classes (cat, dog)"
    assert "70,000 images" in repr(ImageSet.from_arrays(np.zeros((70000, 1, 1), np.uint8), np.zeros(70000, int)))


def test_two_sets_are_joined():
    pixels = np.arange(5 * 4, dtype=np.uint8).reshape(5, 1, 2, 2)
    first, second = ImageSet.from_arrays(pixels[:3], [0, 1, 2]), ImageSet.from_arrays(pixels[3:], [2, 0])
    both = first + second
    assert np.array_equal(both.images, pixels)
    assert both.labels.tolist() == [0, 1, 2, 2, 0]
    assert (both.name, both.classes, both.images.flags.writeable) == ("custom", first.classes, False)
    assert (first + ImageSet(second.images, second.labels, second.classes, "drawn")).name == "custom + drawn"
    assert len(first + second[:0]) == 3


@pytest.mark.parametrize(
    ("images", "classes", "text"),
    [
        (np.zeros((2, 1, 2, 3), np.uint8), 3, "same shape .* 1x2x2 and 1x2x3"),
        (np.zeros((2, 1, 2, 2), np.uint8), 4, r"same classes .* \['0', '1', '2'\] and \['0', '1', '2', '3'\]"),
    ],
)
def test_different_sets_are_not_joined(images: np.ndarray, classes: int, text: str):
    first = ImageSet.from_arrays(np.zeros((2, 1, 2, 2), np.uint8), [0, 1], classes=3)
    with pytest.raises(ValueError, match=text):
        first + ImageSet.from_arrays(images, [0, 1], classes=classes)


def test_a_set_and_an_array_are_not_joined():
    with pytest.raises(TypeError, match=r"an ImageSet, got uint8 \[2, 2, 2\]"):
        ImageSet.from_arrays(np.zeros((2, 2, 2), np.uint8), [0, 1]) + np.zeros((2, 2, 2), np.uint8)


def test_copies_and_pickles_are_equal_and_read_only():
    data = make()
    for other in (pickle.loads(pickle.dumps(data)), copy.copy(data), copy.deepcopy(data)):
        assert repr(other) == repr(data)
        assert (other.images == data.images).all()
        assert not other.images.flags.writeable


# ---- from_torch ----


class Pairs:
    """Data set with the given items and attributes."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items = items
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class TorchvisionPairs(Pairs):
    def __getitem__(self, index: int) -> Any:
        return self.items[index]

    __getitem__.__module__ = "torchvision.datasets.mnist"


def test_arrays_of_torchvision_data_sets_are_not_copied():
    torch = pytest.importorskip("torch")
    data = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    targets = torch.tensor([0, 1, 2, 3, 4])
    options = {"data": data, "targets": targets, "transform": None, "classes": ["a", "b", "c", "d", "e"]}
    vision = TorchvisionPairs([None] * 5, **options)
    converted = ImageSet.from_torch(vision)
    assert converted.images.ctypes.data == data.data_ptr()
    assert converted.classes == ("a", "b", "c", "d", "e")
    assert converted.name == "torchvisionpairs"


def test_items_are_read_if_a_class_defines_them():
    torch = pytest.importorskip("torch")
    data, targets = np.zeros((3, 4, 4), np.uint8), torch.tensor([7, 8, 9])
    items = [(torch.full((1, 4, 4), 1.0), 7 % 2), (torch.full((1, 4, 4), 1.0), 8 % 2)]

    class Parity(TorchvisionPairs):
        def __getitem__(self, index: int) -> Any:
            return self.items[index]

    for kind in (Pairs, Parity):
        converted = ImageSet.from_torch(kind(items, data=data, targets=targets))
        assert converted.labels.tolist() == [1, 0]
        assert (converted.images == 255).all()
    fewer = TorchvisionPairs(items, data=data, targets=targets)
    assert ImageSet.from_torch(fewer).labels.tolist() == [1, 0]  # its length differs from that of the arrays


def test_transforms_of_the_data_set_are_applied():
    items = [(np.full((1, 4, 4), 0.5, np.float32), 0), (np.full((1, 4, 4), 1.0, np.float32), 1)]
    data = np.zeros((2, 4, 4), np.uint8)
    converted = ImageSet.from_torch(Pairs(items, data=data, targets=[0, 1], transform=lambda image: image))
    assert converted.images[:, 0, 0, 0].tolist() == [128, 255]


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "RGBA"])
def test_pil_images_are_converted(mode: str):
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((6, 5, 3), np.uint8)
    pixels[2, 3] = 255
    picture = image.fromarray(pixels).convert(mode)
    converted = ImageSet.from_torch(Pairs([(picture, 0), (picture, 1)]))
    channels = {"L": 1, "1": 1, "RGBA": 4}.get(mode, 3)
    assert converted.shape == (channels, 6, 5)
    assert converted.images[0, 0, 2, 3] == 255
    assert converted.images[0, 0, 0, 0] == 0


def test_torch_data_sets_are_converted():
    torch = pytest.importorskip("torch")
    from torch.utils.data import Subset, TensorDataset

    whole = TensorDataset(torch.rand(10, 3, 8, 8), torch.arange(10))
    converted = ImageSet.from_torch(Subset(whole, [3, 1]), name="part")
    assert converted.labels.tolist() == [3, 1]
    assert converted.shape == (3, 8, 8)
    assert converted.name == "part"


def test_iterable_data_sets_are_converted():
    converted = ImageSet.from_torch(iter([(np.zeros((4, 4), np.uint8), 1)]))
    assert len(converted) == 1


@pytest.mark.parametrize(
    ("items", "error", "text"),
    [
        ([], ValueError, "dataset must have at least one item, got none"),
        ([np.zeros((4, 4))], TypeError, "expected a pair"),
        ([(np.zeros((4, 4), np.uint8), 0.5)], TypeError, "label 0.5 of item 0 is not an integer"),
        ([(np.zeros((8, 8, 3), np.uint8), 0)], ValueError, r"looks like \[H, W, C\]"),
        ([(np.zeros(4, np.uint8), 0)], ValueError, r"has shape \[4\]"),
        ([(np.zeros((4, 4)) - 0.4, 0)], ValueError, "the pixels of item 0.*normalization"),
        ([(np.zeros((4, 4)), 0), (np.zeros((5, 4)), 0)], ValueError, r"item 1 .* has shape \[1, 5, 4\]"),
    ],
)
def test_invalid_data_sets_raise(items: list[Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        ImageSet.from_torch(Pairs(items))


def test_imaginary_part_of_a_conjugated_tensor():
    """PyTorch negates such a tensor when its values are read."""
    values = torch.rand(4, 28, 28)
    view = torch.complex(values, -values).conj().imag
    assert view.is_neg()
    assert np.array_equal(ImageSet.from_arrays(view, [0] * 4).images, ImageSet.from_arrays(values, [0] * 4).images)


def test_statistics_of_mnist(mnist: tuple[ImageSet, ImageSet]):
    train, test = mnist
    assert (len(train), len(test)) == (60000, 10000)
    (mean,), (deviation,) = train.mean_std()
    assert (round(mean, 4), round(deviation, 4)) == (0.1307, 0.3081)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert train.class_counts().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


# ---- from_npz ----


def medmnist(path: Path, channels: tuple[int, ...] = (), **changes: Any) -> Path:
    """Write a small file in the layout of MedMNIST: the test set has fewer classes than the training set."""
    generator, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 9), ("val", 4), ("test", 3)):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 28, 28, *channels), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 5)[:, None]
    np.savez(path, **{**arrays, **changes})
    return path


def test_npz_file_of_grey_images(tmp_path: Path):
    path = medmnist(tmp_path / "pneumoniamnist.npz")
    sets = [ImageSet.from_npz(path, split) for split in ("train", "val", "test")]
    assert [repr(each) for each in sets] == [
        f"ImageSet 'pneumoniamnist': {count} images 1x28x28, 5 classes (0 … 4)" for count in (9, 4, 3)
    ]
    with np.load(path) as file:
        assert np.array_equal(sets[0].images[:, 0], file["train_images"])
        assert sets[2].labels.tolist() == file["test_labels"][:, 0].tolist() == [0, 1, 2]


def test_npz_file_of_colour_images(tmp_path: Path):
    path = medmnist(tmp_path / "pathmnist.npz", (3,))
    data = ImageSet.from_npz(str(path), "val", classes=["a", "b", "c", "d", "e"], name="path")
    assert (data.shape, data.classes, data.name) == ((3, 28, 28), ("a", "b", "c", "d", "e"), "path")
    with np.load(path) as file:
        assert np.array_equal(data.images.transpose(0, 2, 3, 1), file["val_images"])
    one_channel = medmnist(tmp_path / "grey.npz", (1,))
    assert ImageSet.from_npz(one_channel).shape == (1, 28, 28)
    flat = medmnist(tmp_path / "flat.npz", train_labels=np.arange(9))
    assert ImageSet.from_npz(flat).labels.tolist() == list(range(9))


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"train_labels": np.zeros((9, 14), np.uint8)}, ValueError, r"train_labels has 14 labels per image"),
        ({"train_labels": np.zeros((9, 1))}, TypeError, r"labels must be integers, got float64"),
        (
            {"train_labels": np.zeros((8, 1), int)},
            ValueError,
            "must have the same length, got 9 and 8",
        ),
        ({"train_labels": np.full((9, 1), -1)}, ValueError, "label -1 at index 0 is out of range"),
        ({"train_images": np.full((9, 28, 28), np.nan)}, ValueError, "images contain NaN"),
        ({"train_images": np.zeros((9, 28, 28), np.int32)}, TypeError, "must be uint8 or floats in"),
        ({"train_images": np.zeros((9, 28, 28, 28), np.uint8)}, ValueError, r"\[9, 28, 28, 28\].*volumes are not"),
        ({"train_images": np.zeros((9, 28), np.uint8)}, ValueError, r"\[9, 28\], expected \[N, H, W\] or"),
        ({"train_images": np.array([{}] * 9, object)}, OSError, "not an .npz file of arrays: Object arrays"),
    ],
)
def test_npz_file_with_other_content_raises(tmp_path: Path, changes: Any, kind: type[Exception], text: str):
    path = medmnist(tmp_path / "mnist.npz", **changes)
    with pytest.raises(kind, match=rf"mnist.npz.*{text}"):
        ImageSet.from_npz(path)


def test_npz_file_without_the_split_raises(tmp_path: Path):
    path = medmnist(tmp_path / "mnist.npz")
    with pytest.raises(ValueError, match=r"no array 'validation_images'; its arrays are .*, val_images, val_labels"):
        ImageSet.from_npz(path, "validation")


def test_damaged_npz_files_raise(tmp_path: Path):
    whole = medmnist(tmp_path / "whole.npz").read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    for content in (b"", b"text", whole[:-100], whole[:2000] + b"\0" * 100 + whole[2100:]):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(OSError, match=r"damaged.npz is damaged"):
            ImageSet.from_npz(tmp_path / "damaged.npz")
    with pytest.raises(OSError, match="it contains one array"):
        ImageSet.from_npz(tmp_path / "array.npy")
    with pytest.raises(FileNotFoundError, match=r"none.npz does not exist"):
        ImageSet.from_npz(tmp_path / "none.npz")


def test_npz_file_of_another_format_is_not_recommended_for_unpickling(tmp_path):
    (tmp_path / "notes.npz").write_text("not an array")
    with pytest.raises(OSError, match=r"notes\.npz is damaged or not an \.npz file of arrays") as caught:
        ImageSet.from_npz(tmp_path / "notes.npz")
    assert "pickle" not in str(caught.value)


def test_a_loader_is_not_a_data_set():
    data = torch.utils.data.TensorDataset(torch.rand(8, 1, 28, 28), torch.arange(8))
    with pytest.raises(TypeError, match=r"pass loader\.dataset"):
        ImageSet.from_torch(torch.utils.data.DataLoader(data, batch_size=4))


def test_npz_arrays_that_are_no_split(tmp_path: Path):
    images, labels = np.zeros((6, 28, 28), np.uint8), np.arange(6) % 3
    more = {"coarse_labels": np.arange(6) * 100, "attribute_labels": np.ones((6, 40))}
    np.savez(tmp_path / "data.npz", train_images=images, train_labels=labels, **more)
    assert ImageSet.from_npz(tmp_path / "data.npz").num_classes == 3
    np.savez(tmp_path / "data.npz", train_images=images, train_labels=np.array(3))
    with pytest.raises(ValueError, match=r"data\.npz: train_labels is a single number"):
        ImageSet.from_npz(tmp_path / "data.npz")
