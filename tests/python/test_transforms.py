"""Transforms: comparison with Pillow and torchvision, random numbers, validation, and use in training."""

from __future__ import annotations

import json
import math
import sys
from types import ModuleType
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.transforms import steps as augmentation
from mnistcnn.transforms.steps import Transform, check_sizes, checked_transforms, native

RESAMPLING = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}
SEEDS = range(4)


def applied(step: Transform, image: np.ndarray, *numbers: float) -> np.ndarray:
    """Apply a transform with given random numbers to an image [C, H, W]."""
    return core.testing.apply_first(native(step), np.ascontiguousarray(image), list(numbers))


def some_image(random: np.random.Generator, channels: int = 1) -> np.ndarray:
    height, width = (28, 28) if random.random() < 0.4 else random.integers(1, 45, 2)
    return random.integers(0, 256, (channels, height, width), dtype=np.uint8)


def as_pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def as_array(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def colour(fill: int, channels: int) -> Any:
    return fill if channels == 1 else (fill,) * channels


# ---- comparison with Pillow


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("channels", [1, 3])
def test_rotation_is_bit_identical_to_pillow(interpolation: str, channels: int, seed: int):
    random = np.random.default_rng(seed)
    for _ in range(100):
        image, fill, expand = some_image(random, channels), int(random.integers(256)), bool(random.integers(2))
        angle = float(random.choice([random.uniform(-10, 10), random.uniform(-500, 500), random.integers(-5, 6) * 90]))
        center = None if random.random() < 0.6 else tuple(random.uniform(-9, 40, 2).tolist())
        step = mnistcnn.transforms.Rotation(1, fill=fill, interpolation=interpolation, expand=expand, center=center)
        wanted = as_pillow(image).rotate(
            angle, RESAMPLING[interpolation], expand=expand, center=center, fillcolor=colour(fill, channels)
        )
        np.testing.assert_array_equal(
            applied(step, image, angle), as_array(wanted), f"{image.shape} by {angle} around {center}, {expand=}"
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_bit_identical_to_pillow(interpolation: str, channels: int, seed: int):
    random = np.random.default_rng(seed)
    for _ in range(100):
        image = some_image(random, channels)
        height, width = (int(each) for each in random.integers(1, 70, 2))
        pillow, how = as_pillow(image), RESAMPLING[interpolation]
        if interpolation == "nearest" or int(PIL.__version__.split(".")[0]) >= 13:
            wanted = pillow.resize((width, height), how)
        elif image.shape[1] - height > max(0, 2 * (image.shape[2] - width)):  # order of the two passes since Pillow 13
            wanted = pillow.resize((image.shape[2], height), how).resize((width, height), how)
        else:
            wanted = pillow.resize((width, image.shape[1]), how).resize((width, height), how)
        step = mnistcnn.transforms.Resize((height, width), interpolation=interpolation)
        np.testing.assert_array_equal(applied(step, image), as_array(wanted), f"{image.shape} to {(height, width)}")


def affine_matrix(shape: tuple[int, ...], angle: float, x: float, y: float, scale: float, *shear: float) -> list[float]:
    """Return the inverse matrix, from the result to the image: shift, shears, rotation and scaling are inverted."""
    turn, (along_x, along_y) = math.radians(angle), (math.radians(each) for each in shear)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    forward = scale * rotation @ [[1, 0], [-math.tan(along_y), 1]] @ [[1, -math.tan(along_x)], [0, 1]]
    back = np.linalg.inv(forward)
    middle = np.array([shape[2] / 2, shape[1] / 2])
    offset = middle - back @ np.add(middle, [x, y])
    return [*back[0], offset[0], *back[1], offset[1]]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_affine_matches_pillow(interpolation: str, seed: int):
    """The matrix is computed with other operations here, so single pixels at edges may differ."""
    random = np.random.default_rng(seed)
    wrong = pixels = 0
    for _ in range(100):
        image = some_image(random)
        numbers = [random.uniform(-180, 180), *random.integers(-5, 6, 2), random.uniform(0.5, 2)]
        numbers = [float(each) for each in [*numbers, *random.uniform(-30, 30, 2)]]
        wanted = as_pillow(image).transform(
            image.shape[:0:-1], Image.Transform.AFFINE, affine_matrix(image.shape, *numbers), RESAMPLING[interpolation]
        )
        found = applied(mnistcnn.transforms.Affine(interpolation=interpolation), image, *numbers)
        wrong += int((np.abs(found.astype(int) - as_array(wanted)) > 1).sum())
        pixels += image.size
    assert wrong <= pixels / 10_000


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("channels", [1, 3])
def test_perspective_is_bit_identical_to_pillow(interpolation: str, channels: int):
    random = np.random.default_rng(1)
    for _ in range(200):
        image, fill = some_image(random, channels), int(random.integers(256))
        numbers = random.normal([1, 0, 0, 0, 1, 0, 0, 0], [0.3, 0.3, 3, 0.3, 0.3, 3, 0.01, 0.01])
        wanted = as_pillow(image).transform(
            image.shape[:0:-1],
            Image.Transform.PERSPECTIVE,
            numbers.tolist(),
            RESAMPLING[interpolation],
            fillcolor=colour(fill, channels),
        )
        step = mnistcnn.transforms.Perspective(fill=fill, interpolation=interpolation)
        np.testing.assert_array_equal(applied(step, image, *numbers), as_array(wanted), f"{image.shape} {numbers}")


@pytest.mark.parametrize("channels", [1, 3])
def test_color_jitter_is_bit_identical_to_pillow(channels: int):
    from PIL import ImageEnhance

    random = np.random.default_rng(2)
    for _ in range(200):
        image = some_image(random, channels)
        brightness, contrast = (float(each) for each in random.choice([0, 0.3, 1, 1.7, random.uniform(0, 3)], 2))
        bright = ImageEnhance.Brightness(as_pillow(image)).enhance(brightness)
        both = ImageEnhance.Contrast(bright).enhance(contrast)
        np.testing.assert_array_equal(
            applied(mnistcnn.transforms.ColorJitter(), image, brightness, contrast, 0), as_array(both)
        )
        first = ImageEnhance.Contrast(as_pillow(image)).enhance(contrast)
        both = ImageEnhance.Brightness(first).enhance(brightness)
        np.testing.assert_array_equal(
            applied(mnistcnn.transforms.ColorJitter(), image, brightness, contrast, 1), as_array(both)
        )


# ---- comparison with torchvision


@pytest.fixture(scope="module")
def torchvision() -> Any:
    """Import torchvision's functional transforms, which need none of its compiled operators."""
    try:
        import torchvision.transforms.functional as found
    except RuntimeError:  # built for another version of torch: its operators are missing
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")
        found = pytest.importorskip("torchvision.transforms.functional")
    except ImportError:
        pytest.skip("torchvision is not installed")
    return found


def test_rotation_crop_and_resize_equal_torchvision(torchvision: Any):
    random = np.random.default_rng(3)
    for _ in range(100):
        image, angle = some_image(random), float(random.uniform(-180, 180))
        wanted = torchvision.rotate(as_pillow(image), angle, fill=5)
        np.testing.assert_array_equal(applied(mnistcnn.transforms.Rotation(1, fill=5), image, angle), as_array(wanted))
        size = int(random.integers(1, 1 + min(image.shape[1:])))
        wanted = torchvision.center_crop(as_pillow(image), [size, size])
        np.testing.assert_array_equal(applied(mnistcnn.transforms.CenterCrop(size), image), as_array(wanted))
        if max(image.shape[1:]) <= 8 * min(image.shape[1:]):
            wanted = torchvision.resize(as_pillow(image), [2 * size])
            np.testing.assert_array_equal(applied(mnistcnn.transforms.Resize(2 * size), image), as_array(wanted))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_affine_is_bit_identical_to_torchvision(torchvision: Any, interpolation: str):
    random = np.random.default_rng(4)
    for _ in range(200):
        image, (angle, scale) = some_image(random), (float(random.uniform(-180, 180)), float(random.uniform(0.5, 2)))
        shift, shear = random.integers(-5, 6, 2).tolist(), random.uniform(-30, 30, 2).tolist()
        wanted = torchvision.affine(
            as_pillow(image),
            angle,
            shift,
            scale,
            shear,
            interpolation=torchvision.InterpolationMode(interpolation),
            fill=9,
        )
        step = mnistcnn.transforms.Affine(fill=9, interpolation=interpolation)
        np.testing.assert_array_equal(applied(step, image, angle, *shift, scale, *shear), as_array(wanted))


def test_perspective_coefficients_equal_torchvision(torchvision: Any):
    """Compute the corners from the drawn coefficients, and the coefficients from the corners with torchvision."""
    ends = np.array([[0, 0], [27, 0], [27, 27], [0, 27]])
    for index in range(100):
        [drawn] = mnistcnn.transforms.sample_parameters(mnistcnn.transforms.Perspective(0.6, p=1), index=index)
        a, b, c, d, e, f, g, h = (drawn[name] for name in "abcdefgh")
        forward = np.linalg.inv([[a, b, c], [d, e, f], [g, h, 1]])
        x, y, w = forward @ np.c_[ends, np.ones(4)].T
        corners = np.c_[x / w, y / w]
        np.testing.assert_allclose(corners, corners.round(), atol=1e-3)  # corners are whole pixels
        moved = np.abs(corners.round() - ends)
        assert moved.max() <= int(0.6 * 14)
        wanted = torchvision._get_perspective_coeffs(ends.tolist(), corners.round().astype(int).tolist())
        np.testing.assert_allclose([a, b, c, d, e, f, g, h], wanted, rtol=2e-4, atol=2e-5)


# ---- random numbers


ONE_SIDED = {
    mnistcnn.transforms.Rotation((5, 20)): {"angle": (5, 20)},
    mnistcnn.transforms.Affine((3, 4), scale=(1.5, 1.7), shear=(1, 2, -7, -6)): {
        "angle": (3, 4),
        "scale": (1.5, 1.7),
        "shear_x": (1, 2),
        "shear_y": (-7, -6),
    },
    mnistcnn.transforms.ColorJitter((1.2, 1.3), (0.2, 0.3)): {"brightness": (1.2, 1.3), "contrast": (0.2, 0.3)},
    mnistcnn.transforms.MorphologicalThickness((-0.4, -0.3)): {"amount": (-0.4, -0.3)},
}


@pytest.mark.parametrize("step", ONE_SIDED, ids=repr)
def test_random_numbers_cover_their_range(step: Any):
    """The ranges exclude zero, because a symmetric range would hide a wrong sign."""
    drawn = [mnistcnn.transforms.sample_parameters(step, index=index)[0] for index in range(200)]
    for name, (low, high) in ONE_SIDED[step].items():
        values = [each[name] for each in drawn]
        assert low <= min(values) < low + 0.1 * (high - low), name
        assert high - 0.1 * (high - low) < max(values) <= high, name


EVERYTHING = [
    mnistcnn.transforms.Rotation(10, fill=1, p=0.8),
    mnistcnn.transforms.RandomApply([mnistcnn.transforms.CenterCrop(22), mnistcnn.transforms.Resize(28)], p=0.3),
    mnistcnn.transforms.Affine(5, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5),
    mnistcnn.transforms.Perspective(0.2),
    mnistcnn.transforms.ElasticDistortion(20, 4),
    mnistcnn.transforms.RandomCrop(28, padding=2),
    mnistcnn.transforms.MorphologicalThickness(0.5),
    mnistcnn.transforms.RandomErasing(value="random"),
    mnistcnn.transforms.Cutout(6, p=0.5),
    mnistcnn.transforms.ColorJitter(0.2, 0.2),
    mnistcnn.transforms.GaussianNoise(0.05),
]


def test_an_image_depends_on_its_index_not_on_batches_or_threads(digits):
    images = digits[1].images[:200]
    expected = mnistcnn.transforms.augment(images, EVERYTHING, seed=3, epoch=1, threads=1)
    np.testing.assert_array_equal(mnistcnn.transforms.augment(images, EVERYTHING, seed=3, epoch=1, threads=3), expected)
    np.testing.assert_array_equal(mnistcnn.transforms.augment(images[:50], EVERYTHING, seed=3, epoch=1), expected[:50])
    assert (mnistcnn.transforms.augment(images, EVERYTHING, seed=3, epoch=2) != expected).any()
    assert (mnistcnn.transforms.augment(images, EVERYTHING, seed=4, epoch=1) != expected).any()


def test_augment_uses_the_sampled_parameters(digits):
    images = digits[1].images[:100]
    step = mnistcnn.transforms.Rotation(90, p=0.5)
    made = mnistcnn.transforms.augment(images, step, seed=2, epoch=5)
    done = 0
    for index, image in enumerate(images):
        [drawn] = mnistcnn.transforms.sample_parameters(step, index=index, seed=2, epoch=5)
        expected = applied(step, image, drawn["angle"]) if drawn["applied"] else image
        done += drawn["applied"]
        np.testing.assert_array_equal(made[index], expected)
    assert 25 < done < 75


def test_sample_parameters_lists_each_transform_with_its_numbers():
    for index in range(20):
        rows = mnistcnn.transforms.sample_parameters(EVERYTHING, index=index)
        assert [row["transform"] for row in rows][:4] == ["Rotation", "RandomApply", "CenterCrop", "Resize"]
        assert rows[1]["applied"] == rows[2]["applied"] == rows[3]["applied"]
        affine = rows[4]
        assert abs(affine["translate_x"]) <= 3
        assert 0.9 <= affine["scale"] <= 1.1
        assert affine["shear_y"] == 0
    assert mnistcnn.transforms.sample_parameters([], index=0) == []


def test_equal_transforms_draw_different_numbers():
    first, second = mnistcnn.transforms.sample_parameters(
        [mnistcnn.transforms.Rotation(10), mnistcnn.transforms.Rotation(10)], index=0
    )
    assert first["angle"] != second["angle"]


def test_random_erasing_respects_its_ranges():
    step, fractions = mnistcnn.transforms.RandomErasing(p=1, scale=(0.1, 0.2), ratio=(0.5, 2)), []
    for index in range(300):
        [drawn] = mnistcnn.transforms.sample_parameters(step, index=index)
        assert drawn["top"] + drawn["height"] <= 28
        assert drawn["left"] + drawn["width"] <= 28
        fractions.append(drawn["height"] * drawn["width"] / 784)
        assert 0.45 < drawn["height"] / drawn["width"] < 2.2
    assert 0.09 < min(fractions) < 0.11
    assert 0.19 < max(fractions) < 0.22


def test_thickness_changes_the_mean_brightness(digits):
    images = digits[1].images[:50]
    ink = [
        mnistcnn.transforms.augment(images, mnistcnn.transforms.MorphologicalThickness((a, a))).mean()
        for a in (-1, -0.5, 0, 0.5, 1)
    ]
    assert ink == sorted(ink)
    assert len(set(ink)) == 5
    assert ink[2] == images.mean()


def test_elastic_distortion_has_the_expected_displacement():
    """Half of each image is white; the displacement of its edge has the standard deviation of smoothed noise."""
    step = np.zeros((400, 1, 41, 41), np.uint8)
    step[..., 20:] = 255
    moved = (
        mnistcnn.transforms.augment(step, mnistcnn.transforms.ElasticDistortion(36, 5)).astype(float)[:, 0, 20].sum(1)
        / 255
        - 21
    )
    expected = 36 / math.sqrt(3) / (2 * 5 * math.sqrt(math.pi))
    assert np.std(moved) == pytest.approx(expected, rel=0.15)


# ---- validation


WRONG = {
    "degrees must be at least 0": lambda: mnistcnn.transforms.Rotation(-7),
    "must be \\(smallest, largest\\)": lambda: mnistcnn.transforms.Rotation((5, -5)),
    "degrees must be a finite number": lambda: mnistcnn.transforms.Affine(float("nan")),
    "fill must be a grey level from 0 to 255, got 256": lambda: mnistcnn.transforms.Rotation(7, fill=256),
    "interpolation must be 'nearest' or 'bilinear', got 'cubic'": lambda: mnistcnn.transforms.Resize(
        28, interpolation="cubic"
    ),
    "p must be a number between 0 and 1, got 1.5": lambda: mnistcnn.transforms.RandomErasing(p=1.5),
    "expand must be True or False": lambda: mnistcnn.transforms.Rotation(7, expand=1),
    "center must hold 2 numbers": lambda: mnistcnn.transforms.Rotation(7, center=(1, 2, 3)),
    "size must be an integer of at least 1": lambda: mnistcnn.transforms.CenterCrop(0),
    "size must be a number or \\(height, width\\)": lambda: mnistcnn.transforms.RandomCrop((1, 2, 3)),
    "padding must be one, two or four": lambda: mnistcnn.transforms.RandomCrop(28, padding=(1, 2, 3)),
    "translate must be two fractions": lambda: mnistcnn.transforms.Affine(translate=(0.1, 1.1)),
    "scale must be above 0": lambda: mnistcnn.transforms.Affine(scale=(0, 1)),
    "shear must be between -89 and 89": lambda: mnistcnn.transforms.Affine(shear=(-90, 0)),
    "distortion_scale must be a number between 0 and 1": lambda: mnistcnn.transforms.Perspective(1.1),
    "sigma must be a number between 0.1 and 64": lambda: mnistcnn.transforms.ElasticDistortion(sigma=0),
    "value must be a grey level": lambda: mnistcnn.transforms.RandomErasing(value="noise"),
    "brightness must be a finite number": lambda: mnistcnn.transforms.ColorJitter(brightness=-1),
    "std must be a number between 0 and 10": lambda: mnistcnn.transforms.GaussianNoise(-0.1),
    "amount must be between 0 and 16": lambda: mnistcnn.transforms.MorphologicalThickness(17),
    "transforms must hold transforms": lambda: mnistcnn.transforms.RandomApply(["Rotation"]),
    "write Resize\\(...\\)": lambda: checked_transforms([mnistcnn.transforms.Resize]),
    "augment must be a list of transforms": lambda: checked_transforms("Rotation"),
}


@pytest.mark.parametrize("message", WRONG)
def test_invalid_values_raise(message: str):
    with pytest.raises((ValueError, TypeError), match=message):
        WRONG[message]()


def test_ranges_may_be_arrays():
    given = mnistcnn.transforms.Affine(np.float32(7), translate=np.array([0.25, 0.5]), scale=torch.tensor([0.5, 1.5]))
    assert given == mnistcnn.transforms.Affine(7, translate=(0.25, 0.5), scale=(0.5, 1.5))
    assert mnistcnn.transforms.Resize(np.array([14, 28])) == mnistcnn.transforms.Resize((14, 28))


def test_invalid_sizes_raise(digits):
    images = digits[1].images[:3]
    with pytest.raises(ValueError, match=r"CenterCrop\(size=\(30, 30\)\).*28 x 28"):
        mnistcnn.transforms.augment(images, mnistcnn.transforms.CenterCrop(30))
    with pytest.raises(ValueError, match=r"sizes.*22 x 22.*28 x 28"):
        mnistcnn.transforms.augment(images, mnistcnn.transforms.RandomApply([mnistcnn.transforms.CenterCrop(22)]))
    with pytest.raises(ValueError, match=r"to \[1, 22, 22\].*mnistcnn.transforms.Resize\(\(28, 28"):
        check_sizes(mnistcnn.transforms.CenterCrop(22), (1, 28, 28), (1, 28, 28))
    with pytest.raises(TypeError, match="images must be uint8, got float32"):
        mnistcnn.transforms.augment(images.astype(np.float32), [])
    with pytest.raises(ValueError, match="epoch must be an integer"):
        mnistcnn.transforms.augment(images, [], epoch=-1)
    for shape in ((28, 28), (0, 28, 28), (1, 28.5, 28), 28, "abc"):
        with pytest.raises(ValueError, match=r"shape must be \(channels, height, width\).*, got"):
            mnistcnn.transforms.sample_parameters(mnistcnn.transforms.Rotation(5), index=0, shape=shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", EVERYTHING, ids=lambda step: type(step).__name__)
def test_repr_and_fields_recreate_a_transform(step: Transform):
    names = vars(augmentation)
    again = eval(repr(step), dict(names))
    assert again == step
    assert hash(again) == hash(step)
    if not isinstance(step, mnistcnn.transforms.RandomApply):
        plain = {name: getattr(step, name) for name in step.__dataclass_fields__}
        assert type(step)(**json.loads(json.dumps(plain))) == step


def test_images_of_all_supported_types_and_shapes(digits):
    images, step = digits[1].images[:4], mnistcnn.transforms.Rotation(20)
    expected = mnistcnn.transforms.augment(images, step)
    assert expected.dtype == np.uint8
    for form in (digits[1][:4], torch.tensor(images), images[:, 0]):
        np.testing.assert_array_equal(mnistcnn.transforms.augment(form, step), expected)
    np.testing.assert_array_equal(mnistcnn.transforms.augment(images[0], step), expected[:1])
    np.testing.assert_array_equal(mnistcnn.transforms.augment(images[0, 0], step), expected[:1])
    assert mnistcnn.transforms.augment(images[:0], [mnistcnn.transforms.CenterCrop(20)]).shape == (0, 1, 20, 20)


# ---- training


def losses_of(data: mnistcnn.ImageSet, augment: Any, **choices: Any) -> list[float]:
    model = mnistcnn.create_model("session7_net", seed=1)
    model.normalization = mnistcnn.Normalization(0.13, 0.31)
    sgd = mnistcnn.optim.SGD(lr=0.01, momentum=0.9)
    history = mnistcnn.train(model, data, optimizer=sgd, augment=augment, seed=4, progress=False, **choices)
    return list(history.step_losses)


@pytest.mark.parametrize("engine", ["lanes", "aten"])
def test_training_uses_the_images_of_augment(digits, engine: str):
    data = digits[1][:200]
    made = mnistcnn.ImageSet.from_arrays(mnistcnn.transforms.augment(data, EVERYTHING, seed=4), data.labels)
    expected = losses_of(made, None, epochs=1, batch_size=64, engine=engine)
    assert losses_of(data, EVERYTHING, epochs=1, batch_size=64, engine=engine) == expected
    assert losses_of(data, None, epochs=1, batch_size=64, engine=engine) != expected


def test_training_does_not_depend_on_the_number_of_threads(digits):
    data, step = digits[1][:150], [mnistcnn.transforms.Rotation(10), mnistcnn.transforms.ElasticDistortion(20, 4)]
    expected = losses_of(data, step, epochs=2, batch_size=50, engine="lanes", threads=1)
    assert losses_of(data, step, epochs=2, batch_size=50, engine="lanes", threads=3) == expected
    other = losses_of(data, step, epochs=2, batch_size=50, engine="aten")
    np.testing.assert_allclose(other, expected, rtol=1e-3)
    assert losses_of(data, step, epochs=2, batch_size=50, engine="aten") == other


def test_training_raises_if_the_augmented_images_have_another_size(digits):
    with pytest.raises(ValueError, match=r"\[1, 22, 22\].*model .*\[1, 28, 28\]"):
        losses_of(digits[1][:50], [mnistcnn.transforms.CenterCrop(22)], epochs=1)
