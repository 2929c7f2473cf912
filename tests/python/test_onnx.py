"""ONNX files, run by onnxruntime and compared with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn.export.onnx import _WRITERS
from mnistcnn.nn.layers import LAYER_KINDS
from networks import EXPORTABLE, INPUT_SHAPES, NETWORKS
from random_graphs import random_graph

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run(path: Path, images: Any) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def check(model: mnistcnn.Model, path: Path, batches: tuple[int, ...] = (3, 1)) -> None:
    model.eval()
    mnistcnn.export_onnx(model, path)
    for count in batches:
        images = torch.randn(count, *model.input_shape, generator=torch.Generator().manual_seed(count))
        wanted = model(images).detach().numpy().reshape(count, -1)
        found = run(path, images.numpy()).reshape(count, -1)
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found / scale, wanted / scale, atol=1e-5)


def test_every_layer_has_a_writer():
    assert set(_WRITERS) == set(LAYER_KINDS)


@pytest.mark.parametrize("name", ["session7_net", "budget_model2", "assignment7_model4"])
def test_networks_of_the_zoo(name: str, tmp_path: Path):
    check(mnistcnn.create_model(name, seed=3), tmp_path / "net.onnx")


@pytest.mark.parametrize("name", EXPORTABLE)
def test_converted_networks(name: str, tmp_path: Path):
    torch.manual_seed(0)
    check(mnistcnn.from_torch(NETWORKS[name](), INPUT_SHAPES.get(name, (1, 28, 28))), tmp_path / "net.onnx")


@pytest.mark.parametrize("seed", range(2000, 2060))
def test_random_networks(seed: int, tmp_path: Path):
    graph = random_graph(seed)
    model = mnistcnn.Model(graph.layers, graph.input_shape, seed=seed)
    untracked = any(op.startswith("batchnorm") and not fields["track_running_stats"] for _, op, _, fields in model.rows)
    if untracked:
        with pytest.raises(ValueError, match="without running statistics depends on the whole batch"):
            mnistcnn.export_onnx(model, tmp_path / "net.onnx")
    else:
        check(model, tmp_path / "net.onnx", (2,))


def test_pixels(tmp_path: Path):
    model = mnistcnn.create_model("budget_model3", seed=3).eval()
    model.normalization = mnistcnn.Normalization(0.1307, 0.3081)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 28, 28), dtype=np.uint8)
    path = mnistcnn.export_onnx(model, tmp_path / "net.onnx", pixels=True)
    np.testing.assert_allclose(run(path, pixels), model(pixels).detach().numpy(), atol=1e-5)


def test_names_and_shapes(tmp_path: Path):
    import onnx

    path = mnistcnn.export_onnx(mnistcnn.create_model("session7_net"), tmp_path / "net.onnx")
    graph = onnx.load(str(path)).graph
    assert [each.name for each in graph.input] == ["images"]
    assert [each.name for each in graph.output] == ["log_probabilities"]
    sizes = [each.dim_param or each.dim_value for each in graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["N", 1, 28, 28]
    assert "convblock1.0.weight" in {each.name for each in graph.initializer}


def test_dropout_in_evaluation_raises(tmp_path: Path):
    model = mnistcnn.Model([mnistcnn.layers.Dropout(0.5, always=True), mnistcnn.layers.Flatten()])
    with pytest.raises(ValueError, match="layer '0': dropout in evaluation draws random numbers"):
        mnistcnn.export_onnx(model, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
