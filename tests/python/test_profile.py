"""profile: times add up to the step, each layer is listed once, operations match formulas, the model is unchanged."""

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
def test_times_add_up_to_the_step(model: mnistcnn.Model, threads: int):
    report = profile(model, threads=threads, seconds=0.1)
    total = sum(row.seconds for row in report.rows) + sum(other.seconds for other in report.others)
    assert total == pytest.approx(report.seconds)
    assert sum(row.share for row in report.rows) + sum(other.share for other in report.others) == pytest.approx(1)
    for row in report.rows:
        assert row.forward.seconds > 0, row.name
    assert all(other.seconds >= 0 for other in report.others), report.others
    assert [other.name for other in report.others] == [
        *("gather images", "pack weights", "loss", "add up gradients", "waiting", "optimizer")
    ]
    if threads == 1:  # no synchronisation: nearly all of the time is attributed
        waiting = next(other for other in report.others if other.name == "waiting")
        assert waiting.share < 0.1


def test_step_time_matches_an_epoch_without_profiling(model: mnistcnn.Model, digits):
    """The two times agree within a factor of 2, which holds on a busy machine too."""
    report = profile(model, seconds=0.2)
    trainer = mnistcnn.Trainer(model, threads=1, progress=False)
    seconds = min(record.seconds for record in trainer.epochs(digits[1][: 16 * 128], epochs=10)) / 16
    assert 0.5 < report.seconds / seconds < 2


def test_fused_layers_are_one_row_and_operations_match_the_formulas(model: mnistcnn.Model):
    report = profile(model, batch_size=32, seconds=0)
    rows = {row.name: row for row in report.rows}
    assert list(rows) == ["conv1", "norm + relu + pool", "conv2", "tanh", "head"]
    assert report.free == ("drop", "flatten")
    assert rows["norm + relu + pool"].kinds == ("batchnorm2d", "relu", "maxpool2d")
    conv1, fused, conv2 = rows["conv1"], rows["norm + relu + pool"], rows["conv2"]
    assert conv1.forward.flops == conv1.weights.flops == 2 * 32 * 8 * 9 * 26 * 26
    assert conv1.backward.flops == 0  # its input needs no gradient
    assert conv1.backward.gflops is None
    assert conv2.backward.flops == conv2.forward.flops == 2 * 32 * 16 * 8 * 15 * 11 * 9
    assert fused.forward.flops == 0
    assert conv2.bytes == 4 * (32 * (8 * 13 * 13 + 16 * 11 * 9) + 16 * 8 * 15 + 16)
    assert conv2.intensity == conv2.forward.flops / conv2.bytes
    assert conv2.forward.gflops == pytest.approx(conv2.forward.flops / conv2.forward.seconds / 1e9)
    assert report.gflops == pytest.approx(6 * report.macs * 32 / report.seconds / 1e9)


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_profile_lists_each_layer_once(name: str):
    model = mnistcnn.create_model(name)
    report = profile(model, batch_size=16, seconds=0)
    named = [layer for row in report.rows for layer in row.layers] + list(report.free)
    assert sorted(named) == sorted(node["name"] for node in model._network.nodes)
    assert all(kind in ("flatten", "dropout") for kind in _kinds(model, report.free))
    with_flops = [row for row in report.rows if row.forward.flops]
    assert sum(row.forward.flops for row in with_flops) == 2 * 16 * model.summary().macs
    assert [row.name for row in report.rows if row.weights.flops and not row.backward.flops] == [report.rows[0].name]


def _kinds(model: mnistcnn.Model, names: tuple[str, ...]) -> list[str]:
    return [node["op"] for node in model._network.nodes if node["name"] in names]


def test_model_is_not_changed(model: mnistcnn.Model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.conv1.requires_grad_(False)
    model.eval()
    profile(model, seconds=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.conv1.weight.requires_grad
    assert not model.training
    assert model.history is None


def test_model_with_probabilities_as_outputs():
    model = mnistcnn.Model([Flatten(), Linear(10), mnistcnn.layers.Softmax()], (1, 8, 8))
    assert len(profile(model, seconds=0).rows) == 2


def test_only_lanes_is_supported(model: mnistcnn.Model):
    with pytest.raises(ValueError, match="engine must be 'lanes' or 'auto', got 'aten'"):
        profile(model, engine="aten")
    with pytest.raises(ValueError, match="aten"):
        core.start_profile(model.native_engine("aten"))
    unsupported = mnistcnn.Model(
        [mnistcnn.layers.InstanceNorm2d(track_running_stats=True), Flatten(), Linear(10)], (1, 4, 4)
    )
    with pytest.raises(ValueError, match=r"does not support model 'model': .*'0'"):
        profile(unsupported)


def test_invalid_arguments_raise(model: mnistcnn.Model):
    with pytest.raises(TypeError, match=r"must be an mnistcnn\.Model, got str"):
        profile("session7_net")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine must be one of 'auto', 'lanes', 'aten', got 'fast'"):
        profile(model, engine="fast")
    for options in ({"batch_size": 0}, {"threads": 0}, {"seconds": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            profile(model, **options)


def test_measured_limits_are_plausible():
    names = core.instruction_sets()
    assert names[-1] == "baseline"
    limits = {name: measured_limits(name, 1, seconds=0.05) for name in names}
    for each in limits.values():
        assert each.gflops > 0.1
        assert each.memory_gigabytes > 0.1
        assert each.cache_gigabytes > 0.1
    assert limits[names[0]].gflops > 0.8 * limits["baseline"].gflops
    with pytest.raises(ValueError, match=r"'mmx'.*baseline"):
        core.peak_flops("mmx", threads=1, seconds=0.01)


def test_no_layer_is_far_above_the_limit(model: mnistcnn.Model):
    """Operations and time belong together: without a padding nothing is left out, nothing is faster than the peak."""
    report = profile(model, seconds=0.2)
    for row in report.rows:
        for each in (row.forward, row.backward, row.weights):
            assert (each.gflops or 0) < 1.3 * report.limits.gflops, row.name


def test_table_json_and_html(model: mnistcnn.Model):
    report = profile(model, seconds=0)
    lines = repr(report).splitlines()
    assert lines[0].startswith("small: batch 128, lanes (")
    assert lines[2].split()[:3] == ["layers", "forward", "ms"]
    assert any(line.startswith("norm + relu + pool ") for line in lines)
    assert any(line.startswith("(optimizer) ") for line in lines)
    assert lines[-1] == "no computation: drop, flatten"
    html = report._repr_html_()
    assert html.count("<tr>") == 1 + len(report.rows) + len(report.others)
    values = json.loads(json.dumps(report.to_dict()))
    assert values["rows"][0]["layers"] == ["conv1"]
    assert values["rows"][0]["forward"]["seconds"] == report.rows[0].forward.seconds
    assert values["share_of_limit"] == report.share_of_limit


def test_roofline_plot(model: mnistcnn.Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pytest.importorskip("matplotlib")
    report = profile(model, seconds=0)
    (ax,) = mnistcnn.plot.roofline(report).axes
    shown = {label.get_text() for label in ax.get_legend().get_texts()}
    assert shown == {"forward", "gradients of inputs", "gradients of weights"}
    points = {each.get_label(): len(each.get_offsets()) for each in ax.collections}
    assert points == {"forward": 3, "gradients of inputs": 2, "gradients of weights": 3}
    assert any("conv2" in text.get_text() for text in ax.texts)
    assert ax.get_title().startswith("small, batch 128")


def test_roofline_without_flops_raises():
    report = profile(
        mnistcnn.Model([BatchNorm2d(), mnistcnn.layers.AdaptiveAvgPool2d(1), Flatten()], (10, 8, 8)), seconds=0
    )
    with pytest.raises(ValueError, match="nothing to draw"):
        mnistcnn.plot.roofline(report)
