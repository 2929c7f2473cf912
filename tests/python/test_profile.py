"""Where a step's time goes: nothing missing, nothing counted twice, nothing changed."""

from __future__ import annotations

import json

import pytest
import torch

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Tanh
from mnistcnn.profile.profiler import measured_limits, profile


@pytest.fixture
def model() -> mnistcnn.Model:
    layers = {
        "conv1": Conv2d(8, 3),
        "norm": BatchNorm2d(),
        "relu": ReLU(),
        "pool": MaxPool2d(2),
        "drop": Dropout(0.0),
        "conv2": Conv2d(16, (3, 5)),
        "tanh": Tanh(),
        "flatten": Flatten(),
        "head": Linear(10),
    }
    return mnistcnn.Model(layers, (1, 28, 28), name="small")


@pytest.mark.parametrize("threads", [1, 2])
def test_the_parts_add_up_to_the_step(model: mnistcnn.Model, threads: int):
    made = profile(model, threads=threads, seconds=0.1)
    counted = sum(row.seconds for row in made.rows) + sum(other.seconds for other in made.others)
    assert counted == pytest.approx(made.seconds)
    assert sum(row.share for row in made.rows) + sum(other.share for other in made.others) == pytest.approx(1)
    for row in made.rows:
        assert row.forward.seconds > 0, row.name
    assert all(other.seconds >= 0 for other in made.others), made.others
    assert [other.name for other in made.others] == [
        *("gather images", "pack weights", "loss", "add up gradients", "waiting", "optimizer")
    ]
    if threads == 1:  # nothing to wait for: what the clock shows is what was counted
        waiting = next(other for other in made.others if other.name == "waiting")
        assert waiting.share < 0.1


def test_the_step_takes_the_time_that_a_clock_shows(model: mnistcnn.Model, digits):
    """The profile's step against one of an epoch that nobody profiles: alike within a factor, on a busy machine too."""
    made = profile(model, seconds=0.2)
    trainer = mnistcnn.Trainer(model, threads=1, progress=False)
    seconds = min(record.seconds for record in trainer.epochs(digits[1][: 16 * 128], epochs=10)) / 16
    assert 0.5 < made.seconds / seconds < 2


def test_chains_are_one_row_with_all_names_and_operations_are_counted_by_hand(model: mnistcnn.Model):
    made = profile(model, batch_size=32, seconds=0)
    rows = {row.name: row for row in made.rows}
    assert list(rows) == ["conv1", "norm + relu + pool", "conv2", "tanh", "head"]
    assert made.free == ("drop", "flatten")
    assert rows["norm + relu + pool"].kinds == ("batchnorm2d", "relu", "maxpool2d")
    conv1, chain, conv2 = rows["conv1"], rows["norm + relu + pool"], rows["conv2"]
    assert conv1.forward.flops == conv1.weights.flops == 2 * 32 * 8 * 9 * 26 * 26
    assert conv1.backward.flops == 0  # nothing in front of it is trained
    assert conv1.backward.gflops is None
    assert conv2.backward.flops == conv2.forward.flops == 2 * 32 * 16 * 8 * 15 * 11 * 9
    assert chain.forward.flops == 0
    assert conv2.bytes == 4 * (32 * (8 * 13 * 13 + 16 * 11 * 9) + 16 * 8 * 15 + 16)
    assert conv2.intensity == conv2.forward.flops / conv2.bytes
    assert conv2.forward.gflops == pytest.approx(conv2.forward.flops / conv2.forward.seconds / 1e9)
    assert made.gflops == pytest.approx(6 * made.macs * 32 / made.seconds / 1e9)


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_every_network_of_the_zoo_has_a_profile_with_each_layer_once(name: str):
    model = mnistcnn.create_model(name)
    made = profile(model, batch_size=16, seconds=0)
    named = [layer for row in made.rows for layer in row.layers] + list(made.free)
    assert sorted(named) == sorted(node["name"] for node in model._network.nodes)
    assert all(kind in ("flatten", "dropout") for kind in _kinds(model, made.free))
    multiplying = [row for row in made.rows if row.forward.flops]
    assert sum(row.forward.flops for row in multiplying) == 2 * 16 * model.summary().macs
    assert [row.name for row in made.rows if row.weights.flops and not row.backward.flops] == [made.rows[0].name]


def _kinds(model: mnistcnn.Model, names: tuple[str, ...]) -> list[str]:
    return [node["op"] for node in model._network.nodes if node["name"] in names]


def test_the_model_is_not_changed(model: mnistcnn.Model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.conv1.requires_grad_(False)
    model.eval()
    profile(model, seconds=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.conv1.weight.requires_grad
    assert not model.training
    assert model.history is None


def test_a_network_that_ends_in_probabilities_has_a_profile_too():
    model = mnistcnn.Model([Flatten(), Linear(10), mnistcnn.layers.Softmax()], (1, 8, 8))
    assert len(profile(model, seconds=0).rows) == 2


def test_only_lanes_can_be_profiled(model: mnistcnn.Model):
    with pytest.raises(ValueError, match="the aten engine can't tell its layers apart: use engine='lanes'"):
        profile(model, engine="aten")
    with pytest.raises(ValueError, match="the aten engine does not support profiling"):
        core.start_profile(model.native_engine("aten"))
    refused = mnistcnn.Model(
        [mnistcnn.layers.InstanceNorm2d(track_running_stats=True), Flatten(), Linear(10)], (1, 4, 4)
    )
    with pytest.raises(ValueError, match="it can't run model 'model': node '0'"):
        profile(refused)


def test_wrong_values_are_refused(model: mnistcnn.Model):
    with pytest.raises(TypeError, match=r"must be an mnistcnn\.Model, got str"):
        profile("session7_net")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine must be one of 'auto', 'lanes', 'aten', got 'fast'"):
        profile(model, engine="fast")
    for options in ({"batch_size": 0}, {"threads": 0}, {"seconds": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            profile(model, **options)


def test_the_machine_has_limits():
    names = core.instruction_sets()
    assert names[-1] == "baseline"
    limits = {name: measured_limits(name, 1, seconds=0.05) for name in names}
    for each in limits.values():
        assert each.gflops > 0.1
        assert each.memory_gigabytes > 0.1
        assert each.cache_gigabytes > 0.1
    assert limits[names[0]].gflops > 0.8 * limits["baseline"].gflops
    with pytest.raises(ValueError, match=r"'mmx' is not an instruction set of this machine; choices: .*baseline"):
        core.peak_flops("mmx", threads=1, seconds=0.01)


def test_no_layer_is_far_above_the_limit(model: mnistcnn.Model):
    """Operations and time belong together: without a padding nothing is left out, nothing is faster than the peak."""
    made = profile(model, seconds=0.2)
    for row in made.rows:
        for part in (row.forward, row.backward, row.weights):
            assert (part.gflops or 0) < 1.3 * made.limits.gflops, row.name


def test_table_json_and_html(model: mnistcnn.Model):
    made = profile(model, seconds=0)
    lines = repr(made).splitlines()
    assert lines[0].startswith("small: batch 128, lanes (")
    assert lines[2].split()[:3] == ["layers", "forward", "ms"]
    assert any(line.startswith("norm + relu + pool ") for line in lines)
    assert any(line.startswith("(optimizer) ") for line in lines)
    assert lines[-1] == "free: drop, flatten"
    html = made._repr_html_()
    assert html.count("<tr>") == 1 + len(made.rows) + len(made.others)
    values = json.loads(json.dumps(made.to_dict()))
    assert values["rows"][0]["layers"] == ["conv1"]
    assert values["rows"][0]["forward"]["seconds"] == made.rows[0].forward.seconds
    assert values["share_of_limit"] == made.share_of_limit


def test_roofline(model: mnistcnn.Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pytest.importorskip("matplotlib")
    made = profile(model, seconds=0)
    (ax,) = mnistcnn.plot.roofline(made).axes
    shown = {label.get_text() for label in ax.get_legend().get_texts()}
    assert shown == {"forward", "gradients of inputs", "gradients of weights"}
    points = {each.get_label(): len(each.get_offsets()) for each in ax.collections}
    assert points == {"forward": 3, "gradients of inputs": 2, "gradients of weights": 3}
    assert any("conv2" in text.get_text() for text in ax.texts)
    assert ax.get_title().startswith("small, batch 128")


def test_roofline_needs_a_layer_with_multiplications():
    made = profile(
        mnistcnn.Model([BatchNorm2d(), mnistcnn.layers.AdaptiveAvgPool2d(1), Flatten()], (10, 8, 8)), seconds=0
    )
    with pytest.raises(ValueError, match="nothing to draw"):
        mnistcnn.plot.roofline(made)
