"""Trials: statistics over seeds, text and HTML, and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistcnn
from mnistcnn import History
from mnistcnn.callbacks import EpochRecord
from mnistcnn.training.recipes import Recipe
from studies import made_setting, made_trial, made_trials

TEN = (0.9938, 0.9944, 0.9931, 0.9942, 0.9935, 0.9947, 0.9929, 0.9941, 0.9936, 0.9937)


def test_statistics_and_headline():
    trials = made_trials(accuracies=TEN, target=0.994)
    assert trials.mean == pytest.approx(0.99380, abs=1e-9)
    assert trials.sd == pytest.approx((286 / 9) ** 0.5 / 10_000, rel=1e-9)  # n - 1
    assert trials.interval == pytest.approx((0.9938 - 2.262157 * trials.sd / 10**0.5, 0.994203259), abs=1e-8)
    assert trials.minimum == 0.9929
    assert trials.share_at_least(0.994) == 0.4
    assert trials.seeds == tuple(range(10))
    assert repr(trials).splitlines()[0] == (
        "99.38 ± 0.06 % (10 seeds, last epoch), 95 % interval 99.34 to 99.42 %, minimum 99.29 %, "
        "40 % of seeds at or above 99.40 %"
    )
    assert str(trials) == repr(trials)
    assert len(trials) == len(list(trials)) == 10
    assert trials[3].accuracy == 0.9942


def test_target_in_percent_divided_by_100_is_reached_by_an_equal_accuracy():
    assert 99.4 / 100 > 9940 / 10000  # rounding error
    assert made_trials(accuracies=(0.994, 0.9939)).share_at_least(99.4 / 100) == 0.5


def test_table_has_a_row_per_seed():
    lines = repr(made_trials()).splitlines()
    assert (
        lines[1] == "session7_net: 7,596 parameters, trained on mnist (60,000 images), tested on mnist (10,000 images)"
    )
    assert lines[2].split() == ["seed", "epochs", "train", "acc", "test", "acc", "test", "loss", "seconds"]
    assert lines[4].split() == ["1", "2", "99.20", "%", "99.40", "%", "0.0200", "2.8"]
    assert "<table" in made_trials()._repr_html_()
    assert "99.36 ± 0.05 %" in made_trials()._repr_html_()


def test_diverged_trial_is_reported_and_excluded():
    trials = made_trials(accuracies=(0.994, None, 0.992))
    assert trials.mean == pytest.approx(0.993)
    assert trials.seeds == (0, 2)
    assert [history.seed for history in trials.histories] == [0, 2]
    assert [trial.seed for trial in trials.diverged] == [1]
    assert trials.share_at_least(0.99) == pytest.approx(2 / 3)
    assert trials.headline().startswith("99.30 ± 0.14 % (2 of 3 seeds, last epoch; 1 diverged, excluded from the mean)")
    assert "seed 1 diverged: the loss of step 3 is nan" in repr(trials)
    assert [repr(trial) for trial in trials.trials[:2]] == [
        "Trial: seed 0, 2 epochs in 2.8 s, test accuracy 99.40 %",
        "Trial: seed 1, 1 epoch in 1.5 s, diverged: the loss of step 3 is nan",
    ]
    assert "diverged" in trials._repr_html_()


def test_all_trials_diverged():
    trials = made_trials(accuracies=(None, None))
    assert math.isnan(trials.mean)
    assert math.isnan(trials.minimum)
    assert trials.share_at_least(0.5) == 0
    assert trials.headline() == "no result: 0 of 2 seeds, last epoch; 2 diverged, excluded from the mean"
    assert "seed 0 diverged" in repr(trials)


def test_single_seed_has_no_standard_deviation():
    trials = made_trials(accuracies=(0.9938,))
    assert math.isnan(trials.sd)
    assert all(math.isnan(end) for end in trials.interval)
    assert trials.headline() == "99.38 % (1 seed, last epoch)"


def test_interval_is_clipped_to_0_and_1():
    assert made_trials(accuracies=(0.99, 1.0)).interval == (pytest.approx(0.995 - 12.7062 * 0.005, abs=1e-5), 1.0)
    assert made_trials(accuracies=(0.1, 0.9)).interval == (0.0, 1.0)
    assert "95 % interval 0.00 to 100.00 %" in repr(made_trials(accuracies=(0.1, 0.9)))


def test_headline_counts_interrupted_trials():
    trials = made_trials(unfinished=(3, 4))
    assert trials.headline().startswith("99.36 ± 0.05 % (3 of 5 seeds, last epoch; 2 unfinished)")


def test_headline_of_a_cross_validation():
    trials = dataclasses.replace(made_trials(), setting=made_setting(folds=3))
    assert trials.headline().startswith("99.36 ± 0.05 % (3 folds, last epoch)")
    assert "3 folds of mnist (60,000 images)" in repr(trials)


def test_title_includes_the_variant():
    recipe = {**Recipe().to_dict(), "about": {"name": "session7_net", "variant": "rotation_step"}}
    assert made_setting(recipe=recipe).title == "session7_net (rotation_step)"
    assert made_setting().title == "session7_net"


@pytest.mark.parametrize("trials", [made_trials(), made_trials(accuracies=(0.99, None), unfinished=(7,), target=0.9)])
def test_json_round_trip(trials: mnistcnn.Trials, tmp_path: Path):
    text = trials.to_json(tmp_path / "trials.json")
    read = mnistcnn.Trials.from_json(tmp_path / "trials.json")
    assert repr(read) == repr(trials)
    assert read.to_dict() == trials.to_dict() == json.loads(text)
    assert read.accuracies == trials.accuracies
    assert read.recipe == Recipe(epochs=2)
    assert read.setting == trials.setting


def test_json_of_another_format_raises(tmp_path: Path):
    (tmp_path / "other.json").write_text('{"format": "mnistcnn trials 99"}')
    with pytest.raises(ValueError, match="format must be 'mnistcnn trials 1', got 'mnistcnn trials 99'"):
        mnistcnn.Trials.from_json(tmp_path / "other.json")


def test_models_and_results_that_were_not_kept_raise():
    with pytest.raises(ValueError, match="keep_models=True"):
        _ = made_trials().models
    with pytest.raises(ValueError, match="read from a file"):
        _ = made_trials().results


def validated_trials(*accuracies: tuple[float, ...] | None, **changes: Any) -> mnistcnn.Trials:
    """Return a trial for each sequence of validation accuracies; None is a diverged trial."""
    trials = []
    for seed, values in enumerate(accuracies):
        trial = made_trial(seed, None if values is None else 0.99)
        records = [EpochRecord(epoch, 0.1, 0.9, 0.1, value, 0.01, 1.0) for epoch, value in enumerate(values or (), 1)]
        trials.append(dataclasses.replace(trial, history=History("session7_net", seed, records)))
    return mnistcnn.Trials(made_setting(validation=0.1), tuple(trials), **changes)


def test_consistent_is_the_fraction_of_seeds_that_stay_above_the_target():
    good, late, low = (0.9, 0.99, 0.99, 0.995), (0.99, 0.98, 0.99, 0.99), (0.99, 0.99, 0.99, 0.98)
    trials = validated_trials(good, late, low, None)
    assert trials.consistent(0.99) == 1 / 4  # the diverged trial counts as below
    assert trials.consistent(0.99, last=2) == 2 / 4
    assert trials.consistent(0.99, last=1) == 2 / 4
    assert trials.consistent(0.9, last=4) == 3 / 4
    assert validated_trials(None, None).consistent(0.5) == 0
    with pytest.raises(ValueError, match="last must be at most 4, the number of epochs, got 5"):
        trials.consistent(0.99, last=5)
    with pytest.raises(ValueError, match="last must be an integer of at least 1, got 0"):
        trials.consistent(0.99, last=0)
    with pytest.raises(ValueError, match=r"target must be .*0.99"):
        trials.consistent(99)


def test_consistent_without_validation_raises():
    with pytest.raises(ValueError, match=r"no accuracy per epoch; pass validation=0.1 .* or validation=test_set"):
        made_trials().consistent(0.99, last=2)
    with pytest.raises(ValueError, match="no accuracy per epoch"):
        made_trials().consistent(0.99, last=100)  # also if there are too few epochs


def test_headline_has_the_last_epochs_if_there_is_a_target():
    good, low = (0.99, 0.99, 0.995), (0.99, 0.99, 0.98)
    trials = validated_trials(good, low, target=0.99)
    assert trials.headline().endswith("at or above 99.00 %, 50 % in each of the last 3 epochs (validation set)")
    tested = dataclasses.replace(trials, setting=made_setting(validation=made_setting().test_set))
    assert tested.headline().endswith("50 % in each of the last 3 epochs (test set)")
    for other in (validated_trials(good, low), validated_trials(good[:2], target=0.99), made_trials(target=0.99)):
        assert "each of the last" not in other.headline()


def test_target_in_percent_raises():
    with pytest.raises(ValueError, match=r"target must be .*from 0 to 1.*got 99.4; .*0.994"):
        made_trials().share_at_least(99.4)


def test_trials_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_trials().target = 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_trial(0, 0.5).seed = 3


def test_the_recipe_of_a_distillation_has_no_teacher(digits: Any):
    loss = mnistcnn.losses.Distillation(mnistcnn.create_model("budget_model3"))
    sets = digits[0][:60], digits[1][:20]
    trials = mnistcnn.run_trials("budget_model3", *sets, Recipe(epochs=1, loss=loss), seeds=1, progress=False)
    with pytest.raises(ValueError, match="trials do not store its teacher"):
        _ = trials.recipe


def test_a_target_of_numpy(digits: Any):
    sets = digits[0][:60], digits[1][:20]
    target = np.float32(0.5)
    trials = mnistcnn.run_trials("budget_model3", *sets, Recipe(epochs=1), seeds=1, target=target, progress=False)
    assert trials.target == 0.5
