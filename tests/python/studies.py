"""Synthetic trials for tests, created without training."""

from __future__ import annotations

from typing import Any

from mnistcnn.study.trials import SetFacts, Setting, Trial, Trials
from mnistcnn.training.history import EpochRecord, History
from mnistcnn.training.recipes import Recipe


def made_setting(model: str = "session7_net", **changes: Any) -> Setting:
    values: dict[str, Any] = {
        "model": model,
        "graph": "0" * 64,
        "parameters": 7596,
        "receptive_field": 32,
        "recipe": Recipe(epochs=2).to_dict(),
        "train_set": SetFacts("mnist", 60_000, "a" * 64),
        "test_set": SetFacts("mnist", 10_000, "b" * 64),
    }
    return Setting(**{**values, **changes})


def made_trial(seed: int, accuracy: float | None) -> Trial:
    records = [
        EpochRecord(1, 0.4, 0.9, None, None, 0.01, 1.5),
        EpochRecord(2, 0.1, 0.992, None, None, 0.01, 1.25),
    ]
    made_with = {"versions": {"mnistcnn": "0.1.0"}}
    if accuracy is None:
        failure = "the loss of step 3 is nan"
        return Trial(seed, History("session7_net", seed, records[:1]), None, None, failure, made_with)
    return Trial(seed, History("session7_net", seed, records, [0.5, 0.25]), accuracy, 0.02, None, made_with)


def made_trials(
    model: str = "session7_net", accuracies: tuple[float | None, ...] = (0.9938, 0.994, 0.993), **changes: Any
) -> Trials:
    trials = tuple(made_trial(seed, accuracy) for seed, accuracy in enumerate(accuracies))
    return Trials(made_setting(model), trials, **changes)
