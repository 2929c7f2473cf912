"""Measure the time of each transform per image, beside torchvision, and of `Rotation(10)` in a training epoch.

    python benchmarks/augmentation.py

All measurements use one thread. Contenders are measured in turns and the minimum of each is reported, so other load on
the machine has little effect. torchvision transforms PIL images, as its data sets return them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from timing import disturbance, heading, markdown, take_turns
from torchvision_transforms import torchvision_transforms

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.nn.input_checks import model_view
from mnistcnn.optim import losses, optimizers
from mnistcnn.transforms.steps import Transform, native

IMAGES = 1024


def pairs(transforms: Any) -> dict[str, tuple[Transform, Callable[[Any], Any] | None]]:
    """Return our transforms with their counterparts in torchvision, by name."""
    bilinear = transforms.InterpolationMode.BILINEAR
    return {
        "Rotation(10)": (mnistcnn.transforms.Rotation(10), transforms.RandomRotation(10)),
        "Rotation(10), bilinear": (
            mnistcnn.transforms.Rotation(10, interpolation="bilinear"),
            transforms.RandomRotation(10, interpolation=bilinear),
        ),
        "Affine(10, shifts, scales, shears)": (
            mnistcnn.transforms.Affine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=10),
            transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=10),
        ),
        "Perspective(0.3)": (mnistcnn.transforms.Perspective(0.3, p=1), transforms.RandomPerspective(0.3, p=1)),
        "RandomCrop(28, padding=2)": (
            mnistcnn.transforms.RandomCrop(28, padding=2),
            transforms.RandomCrop(28, padding=2),
        ),
        "CenterCrop(22)": (mnistcnn.transforms.CenterCrop(22), transforms.CenterCrop(22)),
        "Resize(22)": (mnistcnn.transforms.Resize(22), transforms.Resize(22)),
        "ColorJitter(0.3, 0.3)": (mnistcnn.transforms.ColorJitter(0.3, 0.3), transforms.ColorJitter(0.3, 0.3)),
        "RandomErasing(p=1)": (mnistcnn.transforms.RandomErasing(p=1), None),
        "Cutout(8)": (mnistcnn.transforms.Cutout(8), None),
        "GaussianNoise(0.1)": (mnistcnn.transforms.GaussianNoise(0.1), None),
        "MorphologicalThickness(0.5)": (mnistcnn.transforms.MorphologicalThickness(0.5), None),
        "ElasticDistortion(36, 5)": (mnistcnn.transforms.ElasticDistortion(36, 5), None),
    }


def measure_steps(data: mnistcnn.ImageSet, seconds: float) -> None:
    """Print the microseconds per image of every transform."""
    from PIL import Image

    pil_images = [Image.fromarray(image[0]) for image in data.images]
    rows, records = [], []
    for name, (step, other) in pairs(torchvision_transforms()).items():

        def ours(count: int, step: Transform = step) -> None:
            for epoch in range(count):
                mnistcnn.transforms.augment(data, step, epoch=epoch, threads=1)

        def theirs(count: int, other: Any = other) -> None:
            for _ in range(count):
                for image in pil_images:
                    other(image)

        turns = take_turns({"ours": ours} | ({"torchvision": theirs} if other else {}), seconds, 5, 1000)
        best = {label: 1e6 * min(times) / len(data) for label, times in turns.times.items()}
        compared = "torchvision" in best
        cells = [f"{best['torchvision']:.1f}", f"{best['torchvision'] / best['ours']:.0f}x"] if compared else ["", ""]
        rows.append([name, f"{best['ours']:.2f}", *cells])
        records.append(turns.to_dict())
    print("\n## Microseconds per image of 28x28\n")
    print(markdown(["transform", "mnistcnn", "torchvision", "speedup"], rows))
    print(f"\n{disturbance(records)}")


def trainer(name: str, data: mnistcnn.ImageSet, steps: list[Transform]) -> Callable[[int], None]:
    """Return a function that trains a number of epochs on one thread."""
    model = mnistcnn.create_model(name, seed=1)
    model.normalization = mnistcnn.Normalization(0.1307, 0.3081)
    view = model_view(model, "lanes", 1)
    run = core.TrainingRun(
        view,
        batch_size=128,
        seed=1,
        shuffle=True,
        optimizer=optimizers.settings(mnistcnn.optim.SGD(lr=0.01, momentum=0.9)),
        undecayed=[],
        loss=losses.native("nll", model),
        augmentation=native(steps) if steps else None,
    )
    images, labels = torch.tensor(data.images), torch.tensor(data.labels)
    rates = [0.01] * -(-len(data) // 128)

    def epochs(count: int) -> None:
        for _ in range(count):
            run.next_epoch(view, images, labels, learning_rates=rates, trainable=model.trainable_ranges())

    return epochs


def measure_training(data: mnistcnn.ImageSet, seconds: float) -> None:
    """Print the time that a rotation adds to an epoch of session7_net."""
    contenders = {
        "plain": trainer("session7_net", data, []),
        "Rotation(10)": trainer("session7_net", data, [mnistcnn.transforms.Rotation(10)]),
    }
    turns = take_turns(contenders, seconds, 60, 100)
    best = {label: min(times) for label, times in turns.times.items()}
    rows = [
        [label, f"{1e6 * each / len(data):.2f}", f"{100 * (each / best['plain'] - 1):+.1f} %"]
        for label, each in best.items()
    ]
    print("\n## Training session7_net with the lanes engine, one thread\n")
    print(markdown(["augmentation", "microseconds per image", "overhead"], rows))
    print(f"\n{disturbance([turns.to_dict()])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of the measurement of each transform")
    parser.add_argument("--only", choices=["steps", "training"], help="print only one of the two tables")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    heading("Time of augmentation")
    if arguments.only != "training":
        measure_steps(mnistcnn.load("digits")[1][:IMAGES], arguments.seconds)
    if arguments.only != "steps":
        measure_training(mnistcnn.load("digits")[1][: IMAGES // 4], 5 * arguments.seconds)


if __name__ == "__main__":
    main()
