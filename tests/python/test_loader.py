"""DataLoader: images and order equal to those of training, PyTorch's interface, and no leaked threads."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import mnistcnn
from isolated import run_in_threads
from native_threads import native_threads

STEPS = [mnistcnn.transforms.Rotation(15), mnistcnn.transforms.RandomCrop(28, padding=2)]


def everything(loader: mnistcnn.DataLoader) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_an_epoch_has_each_image_once_augmented_and_normalized(data, prefetch: int):
    loader = mnistcnn.DataLoader(data, batch_size=64, augment=STEPS, seed=7, prefetch=prefetch)
    mean, std = data.mean_std()
    for epoch in range(2):
        images, labels = everything(loader)
        made = mnistcnn.transforms.augment(data, STEPS, seed=7, epoch=epoch)
        pixels = np.rint((images.numpy() * std[0] + mean[0]) * 255).astype(np.uint8)
        where = {image.tobytes(): index for index, image in enumerate(made)}
        assert len(where) == 300, "the images must differ, so that each can be identified"
        order = [where[image.tobytes()] for image in pixels]
        assert sorted(order) == list(range(300))
        np.testing.assert_allclose(images.numpy(), (made[order] / 255 - mean[0]) / std[0], atol=1e-5)
        np.testing.assert_array_equal(labels.numpy(), data.labels[order])
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64


def test_batch_sizes_length_and_epochs(data):
    loader = mnistcnn.DataLoader(data, batch_size=128, seed=1)
    assert len(loader) == 3
    assert [len(labels) for _, labels in loader] == [128, 128, 44]
    smaller = mnistcnn.DataLoader(data, batch_size=128, drop_last=True)
    assert len(smaller) == 2
    assert [len(labels) for _, labels in smaller] == [128, 128]
    first, second = (everything(loader)[1] for _ in range(2))
    assert not torch.equal(first, second)
    assert loader.epoch == 3
    loader.set_epoch(1)
    assert torch.equal(everything(loader)[1], first)
    assert len(iter(loader)) == 3


def test_raw_pixels_without_shuffling(data):
    loader = mnistcnn.DataLoader(data, batch_size=100, shuffle=False, raw=True, num_workers=4, pin_memory=True)
    images, labels = everything(loader)
    assert images.dtype == torch.uint8
    np.testing.assert_array_equal(images.numpy(), data.images)
    np.testing.assert_array_equal(labels.numpy(), data.labels)
    empty = mnistcnn.DataLoader(data[:0], raw=True)
    assert len(empty) == 0
    assert list(empty) == []


def test_images_with_three_channels_and_other_sizes():
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (40, 3, 32, 20), dtype=np.uint8)
    colours = mnistcnn.ImageSet.from_arrays(pixels, [0] * 40)
    normalization = mnistcnn.Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    loader = mnistcnn.DataLoader(
        colours, 16, shuffle=False, augment=mnistcnn.transforms.CenterCrop(20), normalization=normalization
    )
    images, _ = everything(loader)
    mean, std = (np.reshape(each, (3, 1, 1)) for each in (normalization.mean, normalization.std))
    np.testing.assert_allclose(images.numpy(), (pixels[:, :, 6:26] / 255 - mean) / std, atol=1e-5)


def test_order_and_augmentation_equal_those_of_training(data):
    """With a learning rate of 0 the weights are constant, so equal step losses mean equal batches."""
    model = mnistcnn.Model(
        [mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10), mnistcnn.layers.LogSoftmax()],
        input_shape=(1, 28, 28),
        seed=1,
    )
    mnistcnn.train(
        model,
        data,
        epochs=2,
        batch_size=64,
        optimizer=mnistcnn.optim.SGD(lr=0.0),
        augment=STEPS,
        seed=5,
        progress=False,
    )
    loader = mnistcnn.DataLoader(data, 64, augment=STEPS, seed=5, normalization=model.normalization)
    losses = []
    with torch.no_grad():
        for _ in range(2):
            losses += [torch.nn.functional.nll_loss(model(images), labels).item() for images, labels in loader]
    np.testing.assert_allclose(model.history.step_losses, losses, rtol=1e-4)


def test_an_abandoned_iteration_ends_its_thread(data):
    loader = mnistcnn.DataLoader(data, 16, augment=STEPS)
    gc.collect()
    before = native_threads()
    for _ in range(20):
        batches = iter(loader)
        next(batches)
        assert native_threads(before + 1) == before + 1
        del batches
        assert native_threads(before) == before
    for _ in loader:
        break
    gc.collect()
    assert native_threads(before) == before


def test_a_batch_is_valid_after_its_loader_is_deleted(data):
    loader = mnistcnn.DataLoader(data, 16, shuffle=False, raw=True)
    images, _ = next(iter(loader))
    del loader
    gc.collect()
    images += 1
    np.testing.assert_array_equal(images.numpy(), data.images[:16] + 1)


def test_concurrent_iterations_and_threads(data):
    loader = mnistcnn.DataLoader(data, 32, augment=STEPS, seed=3)
    expected = everything(mnistcnn.DataLoader(data, 32, augment=STEPS, seed=3))[0]
    loader.set_epoch(0)
    one = iter(loader)
    loader.set_epoch(0)
    other = iter(loader)
    parts = [(next(one)[0], next(other)[0]) for _ in range(len(loader))]
    assert torch.equal(torch.cat([a for a, _ in parts]), expected)
    assert torch.equal(torch.cat([b for _, b in parts]), expected)

    def images_in_order() -> torch.Tensor:
        return everything(mnistcnn.DataLoader(data, 32, augment=STEPS, seed=3))[0]

    assert all(torch.equal(each, expected) for each in run_in_threads([images_in_order] * 4))


def test_an_iteration_continues_in_a_forked_process(data):
    expected = everything(mnistcnn.DataLoader(data, 32, augment=STEPS, seed=3))[0]
    loader = mnistcnn.DataLoader(data, 32, augment=STEPS, seed=3)
    batches = iter(loader)
    first, _ = next(batches)
    child = os.fork()
    if child == 0:
        same = False
        try:
            # NumPy, because PyTorch's OpenMP threads do not exist in the child: a large operation would wait forever.
            rest = [images.numpy() for images, _ in batches]
            same = np.array_equal(np.concatenate([first.numpy(), *rest]), expected.numpy())
            del batches
        finally:
            os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(torch.cat([first, *(images for images, _ in batches)]), expected)


def test_ctrl_c_interrupts_the_wait_for_a_batch():
    """The batch takes long to prepare; the consumer is interrupted while it waits."""
    program = """
import numpy as np, mnistcnn
data = mnistcnn.ImageSet.from_arrays(np.zeros((64, 256, 256), np.uint8), [0] * 64)
loader = mnistcnn.DataLoader(data, 64, augment=[mnistcnn.transforms.ElasticDistortion(30, 8)] * 3, raw=True)
try:
    print("ready", flush=True)
    next(iter(loader))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        try:
            rest, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert rest == "interrupted\n"


def test_invalid_arguments_raise_in_the_constructor(data):
    with pytest.raises(TypeError, match="image_set must be an ImageSet, got ndarray"):
        mnistcnn.DataLoader(data.images)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        mnistcnn.DataLoader(data, 0)
    with pytest.raises(ValueError, match=r"CenterCrop.*30"):
        mnistcnn.DataLoader(data, augment=mnistcnn.transforms.CenterCrop(30))
    with pytest.raises(ValueError, match="sizes"):
        mnistcnn.DataLoader(data, augment=mnistcnn.transforms.Rotation(10, expand=True))
    with pytest.raises(TypeError, match="normalization must be a"):
        mnistcnn.DataLoader(data, normalization=(0.1, 0.3))
    with pytest.raises(ValueError, match="prefetch must be an integer"):
        mnistcnn.DataLoader(data, prefetch=-1)
    with pytest.raises(ValueError, match="epoch must be an integer"):
        mnistcnn.DataLoader(data).set_epoch(-1)
    for name in ("shuffle", "drop_last", "raw"):
        with pytest.raises(TypeError, match=f"{name} must be True or False, got 'no'"):
            mnistcnn.DataLoader(data, **{name: "no"})


def test_repr_and_pickling(data):
    loader = mnistcnn.DataLoader(data, 128, augment=STEPS, seed=3)
    assert repr(loader) == (
        "DataLoader(ImageSet 'digits': 300 images 1x28x28, 10 classes (0 … 9), 3 batches of 128, augment="
        "[Rotation(degrees=(-15.0, 15.0)), RandomCrop(size=(28, 28), padding=(2, 2, 2, 2))])"
    )
    assert loader.dataset is data
    again = pickle.loads(pickle.dumps(loader))
    assert torch.equal(everything(again)[0], everything(loader)[0])
