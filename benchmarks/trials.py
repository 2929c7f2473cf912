"""How much more gets done when one-thread trials run side by side.

    python benchmarks/trials.py --models session7_net --at-once 2

Each round trains one model with one thread, and then as many at once as asked, each for one epoch of the same images in
a thread of its own, as `mnistcnn.run_trials` does. Rounds are interleaved, so that a machine that slows down slows down
both; the shortest times are compared, which other work on the machine has disturbed least.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mnistcnn


def seconds(models: list[mnistcnn.Model], images: mnistcnn.ImageSet, pool: ThreadPoolExecutor) -> float:
    """From the common start to the end of the last."""
    start = threading.Barrier(len(models) + 1)
    recipe = mnistcnn.Recipe(epochs=1)

    def trial(model: mnistcnn.Model) -> None:
        start.wait()
        mnistcnn.train(model, images, recipe, threads=1, progress=False)

    running = [pool.submit(trial, model) for model in models]
    start.wait()
    begin = time.perf_counter()
    for each in running:
        each.result()
    return time.perf_counter() - begin


def measure(name: str, images: mnistcnn.ImageSet, at_once: int, rounds: int) -> dict[str, float | str | int]:
    """The shortest of all rounds, alone and side by side."""
    models = [mnistcnn.create_model(name, seed=seed) for seed in range(at_once)]
    alone, together = [], []
    with ThreadPoolExecutor(at_once) as pool:
        for turn in range(rounds + 1):
            one = seconds(models[:1], images, pool)
            many = seconds(models, images, pool)
            if turn > 0:  # the first warms up
                alone.append(one)
                together.append(many)
    return {
        "model": name,
        "at_once": at_once,
        "alone_images_per_second": len(images) / min(alone),
        "together_images_per_second": at_once * len(images) / min(together),
        "throughput": at_once * min(alone) / min(together),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["session7_net", "session7_net2", "budget_model3"])
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", help="also write the numbers into this file")
    options = parser.parse_args()
    images = mnistcnn.load("digits")[0][: options.images]
    print(f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores; {images}")
    found = []
    for name in options.models:
        found.append(measure(name, images, options.at_once, options.rounds))
        row = found[-1]
        print(
            f"{name}: alone {row['alone_images_per_second']:,.0f} images/s, {options.at_once} at once "
            f"{row['together_images_per_second']:,.0f} images/s: {row['throughput']:.2f} times the throughput"
        )
    if options.json:
        with Path(options.json).open("w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
