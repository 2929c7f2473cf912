"""How much more gets done when one-thread trials run side by side.

    python benchmarks/trials.py --models session7_net --at-once 2

Each round trains one model with one thread, and then as many at once as asked, each for one epoch of the same images in
a thread of its own, as `mnistcnn.run_trials` does. Rounds are interleaved, so that a machine that slows down slows down
both. Two figures are printed:

- by the clock: the shortest times are compared. It means something on a machine with nothing else to do.
- undisturbed: each thread's time less what it spent ready to run without a core (as Linux counts it in
  /proc/thread-self/schedstat), medians. What is left is computing, and waiting for locks, the GIL's among them: all
  that trials can do to each other. It means the same on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mnistcnn


def without_a_core() -> float:
    """Seconds that this thread has been ready to run, but was not running."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def seconds(models: list[mnistcnn.Model], images: mnistcnn.ImageSet, pool: ThreadPoolExecutor) -> tuple[float, float]:
    """From the common start to the end of the last; and the mean of the threads' own times, undisturbed."""
    start = threading.Barrier(len(models) + 1)
    recipe = mnistcnn.Recipe(epochs=1)

    def trial(model: mnistcnn.Model) -> float:
        start.wait()
        begin, waited = time.perf_counter(), without_a_core()
        mnistcnn.train(model, images, recipe, threads=1, progress=False)
        return time.perf_counter() - begin - (without_a_core() - waited)

    running = [pool.submit(trial, model) for model in models]
    start.wait()
    begin = time.perf_counter()
    own = [each.result() for each in running]
    return time.perf_counter() - begin, statistics.mean(own)


def measure(name: str, images: mnistcnn.ImageSet, at_once: int, rounds: int) -> dict[str, float | str | int]:
    """Alone and side by side."""
    models = [mnistcnn.create_model(name, seed=seed) for seed in range(at_once)]
    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(2):  # the first rounds warm up
            seconds(models, images, pool)
        times = [(seconds(models[:1], images, pool), seconds(models, images, pool)) for _ in range(rounds)]
    alone, together = (min(clock for clock, _ in column) for column in zip(*times, strict=True))
    own_alone, own_together = (statistics.median(own for _, own in column) for column in zip(*times, strict=True))
    return {
        "model": name,
        "at_once": at_once,
        "seconds_alone": own_alone,
        "seconds_at_once": own_together,
        "throughput_by_the_clock": at_once * alone / together,
        "throughput_undisturbed": at_once * own_alone / own_together,
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
            f"{name}: {row['throughput_by_the_clock']:.2f} times the throughput by the clock, "
            f"{row['throughput_undisturbed']:.2f} times undisturbed ({1000 * row['seconds_alone']:.1f} ms alone, "
            f"{1000 * row['seconds_at_once']:.1f} ms each of {options.at_once} at once)"
        )
    if options.json:
        with Path(options.json).open("w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
