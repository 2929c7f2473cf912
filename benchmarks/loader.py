"""Measure the throughput of `mnistcnn.DataLoader`, and of torch's loader with torchvision's transforms.

    python benchmarks/loader.py

Both shuffle the images, rotate them by up to 10 degrees, normalize them and form batches of 128. torch's loader is
measured in the process itself, which is fastest on few cores, and with one worker process. The minimum is reported.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from timing import disturbance, heading, markdown, take_turns
from torchvision_transforms import torchvision_transforms

import mnistcnn
from mnistcnn.profile.epoch_times import EPOCH


class PilImages(torch.utils.data.Dataset[Any]):
    """Data set that creates a PIL image of every item and transforms it, as torchvision's MNIST does."""

    def __init__(self, data: mnistcnn.ImageSet, transform: Callable[[Any], Any]) -> None:
        self.images, self.labels, self.transform = torch.tensor(data.images[:, 0]), data.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index].numpy())), self.labels[index]


def epochs(loader: Any) -> Callable[[int], None]:
    """Return a function that iterates over all batches a number of times."""

    def run(count: int) -> None:
        for _ in range(count):
            for images, labels in loader:
                assert len(images) == len(labels)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of the measurement of all contenders")
    parser.add_argument("--images", type=int, default=2560, help="per epoch")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = mnistcnn.load("digits")[1][: arguments.images]
    transforms = torchvision_transforms()
    transform = transforms.Compose(
        [transforms.RandomRotation(10), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    images = PilImages(data, transform)
    options = {
        "augment": mnistcnn.transforms.Rotation(10),
        "normalization": mnistcnn.Normalization(0.1307, 0.3081),
    }
    contenders = {
        "torch": epochs(torch.utils.data.DataLoader(images, 128, shuffle=True)),
        "torch, 1 worker": epochs(
            torch.utils.data.DataLoader(images, 128, shuffle=True, num_workers=1, persistent_workers=True)
        ),
        "mnistcnn": epochs(mnistcnn.DataLoader(data, 128, **options)),
        "mnistcnn, without prefetch": epochs(mnistcnn.DataLoader(data, 128, **options, prefetch=0)),
    }
    turns = take_turns(contenders, arguments.seconds, 5, 1000)
    best = {label: min(times) for label, times in turns.times.items()}
    rows = [
        [label, f"{len(data) / each:,.0f}", f"{EPOCH * each / len(data):.2f}", f"{best['torch'] / each:.1f}x"]
        for label, each in best.items()
    ]
    heading("Loading, rotating and normalizing images")
    print()
    print(markdown(["loader", "images / s", "s / 60,000 images", "relative to torch"], rows))
    print(f"\n{disturbance([turns.to_dict()])}")


if __name__ == "__main__":
    main()
