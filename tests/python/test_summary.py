"""Model.summary(): data, text and HTML."""

from __future__ import annotations

import pytest

import mnistcnn
from mnistcnn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d


@pytest.fixture
def model() -> mnistcnn.Model:
    layers = {
        "conv": Conv2d(4, (3, 5), stride=2),
        "norm": BatchNorm2d(),
        "drop": Dropout(0.1),
        "pool": MaxPool2d(2),
        "flatten": Flatten(),
        "head": Linear(10, bias=False),
    }
    return mnistcnn.Model(layers, (2, 28, 28), name="small")


def test_values_of_each_layer(model: mnistcnn.Model):
    """Expected values were computed by hand."""
    rows = {row.name: row for row in model.summary().rows}
    conv, pool, head = rows["conv"], rows["pool"], rows["head"]
    assert (conv.layer, conv.output_shape, conv.kernel) == ("conv2d", (4, 13, 12), (3, 5))
    assert (conv.parameters, conv.macs) == (4 * 2 * 15 + 4, 4 * 2 * 15 * 13 * 12)
    assert (conv.receptive_field, conv.jump) == (5, 2)  # the larger of height and width
    assert conv.memory_bytes == 4 * 4 * 13 * 12
    assert (pool.output_shape, pool.parameters, pool.macs) == ((4, 6, 6), 0, 0)
    assert (pool.receptive_field, pool.jump) == (7, 4)
    assert (head.output_shape, head.kernel, head.parameters, head.macs) == ((10,), None, 1440, 1440)
    assert (head.receptive_field, head.jump) == (None, None)


def test_receptive_field_of_layers_that_are_not_square():
    layers = [mnistcnn.layers.Conv2d(2, (1, 7), stride=(1, 2)), mnistcnn.layers.Conv2d(2, (7, 1), stride=(2, 1))]
    row = mnistcnn.Model(layers).summary().rows[-1]
    assert (row.receptive_field, row.jump) == (7, 2)


def test_totals(model: mnistcnn.Model):
    summary = model.summary()
    assert (summary.name, summary.input_shape) == ("small", (2, 28, 28))
    assert summary.parameters == summary.trainable_parameters == sum(row.parameters for row in summary.rows) == 1572
    assert summary.macs == sum(row.macs for row in summary.rows)
    assert summary.memory_bytes == sum(row.memory_bytes for row in summary.rows)
    assert summary.buffers == 9  # means, variances and one counter
    assert summary.receptive_field == 7
    assert [each["name"] for each in summary.to_dicts()] == [row.name for row in summary.rows]


def test_frozen_parameters_are_reported(model: mnistcnn.Model):
    model.conv.requires_grad_(False)
    assert model.summary().trainable_parameters == 1572 - 124
    assert "1,572 parameters (124 frozen)" in repr(model.summary())


def test_training_memory_equals_the_memory_of_the_engine(digits):
    model = mnistcnn.create_model("session7_net")
    predicted = model.summary().training_bytes
    larger = model.summary(batch_size=300)
    assert predicted is not None
    assert predicted < larger.training_bytes
    assert "MiB to train with batch_size=300" in repr(larger)
    assert "MiB to train with batch_size=300" in larger._repr_html_()
    mnistcnn.train(model, digits[1][:128], epochs=1, engine="lanes", progress=False)
    assert model.native_engine("lanes").memory_bytes == predicted


def test_published_networks_train_within_1_gib():
    needed = {name: mnistcnn.create_model(name).summary().training_bytes for name in mnistcnn.list_models()}
    assert max(needed, key=needed.get) == "assignment7_model1"
    assert all(0 < each < 2**30 for each in needed.values()), needed


def test_training_memory_is_none_if_lanes_does_not_support_the_network():
    unsupported = mnistcnn.Model([mnistcnn.layers.InstanceNorm2d(track_running_stats=True), Flatten()], (1, 4, 4))
    assert unsupported.summary().training_bytes is None
    assert "to train" not in repr(unsupported.summary())


def test_error_for_invalid_batch_size(model: mnistcnn.Model):
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        model.summary(batch_size=0)


def test_text(model: mnistcnn.Model):
    lines = repr(model.summary()).splitlines()
    assert lines[0] == "small, input 2x28x28"
    assert lines[2].split() == ["name", "layer", "output", "kernel", "parameters", "MACs", "field", "jump", "KiB"]
    assert lines[4].split() == ["conv", "conv2d", "4x13x12", "3x5", "124", "18,720", "5", "2", "2.4"]
    assert "1,572 parameters, 9 buffers" in lines[-1]
    assert all(len(line) == len(lines[1]) for line in lines[4:-2])


def test_html(model: mnistcnn.Model):
    html = model.summary()._repr_html_()
    assert html.count("<tr>") == 1 + 6
    assert "1,572 parameters" in html
    assert "&lt;" in mnistcnn.Model([Flatten()], name="<i>").summary()._repr_html_()
