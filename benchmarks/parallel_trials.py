"""Measure the gain in throughput when one-thread trials run in parallel.

    python benchmarks/parallel_trials.py --models session7_net --at-once 2

Each round trains one model with one thread, and then several at once, each for one epoch of the same images in a thread
of its own, as `mnistcnn.run_trials` does. Rounds are interleaved, so that a change of the machine's speed affects both.
Two figures are printed:

- by the clock: the ratio of the shortest wall times. It is meaningful on an idle machine only.
- undisturbed: the ratio of the medians of each thread's time without the time in which it was ready to run but had no
  core (from /proc/thread-self/schedstat on Linux). The rest is computation and waiting for locks, such as the GIL: all
  effects that trials can have on each other. It is meaningful on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from timing import machine

import mnistcnn


def without_a_core() -> float:
    """Return the seconds in which this thread was ready to run but had no core."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def seconds(models: list[mnistcnn.Model], images: mnistcnn.ImageSet, pool: ThreadPoolExecutor) -> tuple[float, float]:
    """Return the wall time of all models together, and the mean undisturbed time of the threads."""
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
    """Measure a model alone and several in parallel; return the figures."""
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
    parser.add_argument("--json", help="also write the numbers to this file")
    options = parser.parse_args()
    images = mnistcnn.load("digits")[0][: options.images]
    print(f"{machine()}; {images}")
    found = []
    for name in options.models:
        found.append(measure(name, images, options.at_once, options.rounds))
        row = found[-1]
        print(
            f"{name}: {row['throughput_by_the_clock']:.2f} times the throughput by the clock, "
            f"{row['throughput_undisturbed']:.2f} times undisturbed ({1000 * row['seconds_alone']:.1f} ms alone, "
            f"{1000 * row['seconds_at_once']:.1f} ms each with {options.at_once} at once)"
        )
    if options.json:
        with Path(options.json).open("w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
