"""C headers, compiled and compared with the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from compiled_header import COMPILERS, SANITIZERS, STRICT, WARNINGS, build, outputs_of
from mnistcnn.export.c_header import flash, prefix_of, ram
from mnistcnn.export.lowering import lowered
from networks import EXPORTABLE, INPUT_SHAPES, NETWORKS
from random_graphs import random_graph, stir

pytestmark = pytest.mark.skipif(not COMPILERS, reason="needs gcc or clang")

LARGE = {"assignment7_model1", "era5_net", "recognition_cnn"}  # 100,000 parameters and more


def stirred(name: str) -> mnistcnn.Model:
    """Return a network whose batch norms change their inputs."""
    model = mnistcnn.create_model(name, seed=3)
    stir(model, torch.Generator().manual_seed(3))
    return model.eval()


def digits(count: int) -> Any:
    return mnistcnn.load("digits")[1].images[:count]


def check(model: mnistcnn.Model, folder: Path, images: Any, *options: str, **compiler: str) -> None:
    """Compare the outputs of the compiled header with those of the model."""
    path = mnistcnn.export_c(model, folder / "net.h")
    wanted = model.eval()(images).detach().numpy().reshape(len(images), -1)
    program = build(path, int(images[0].size), wanted.shape[1], *options, **compiler)
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(outputs_of(program, images) / scale, wanted / scale, atol=1e-5)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_header_compiles_without_warnings_and_memory_errors(compiler: str, tmp_path: Path):
    check(stirred("session7_net"), tmp_path, digits(20), *STRICT, *SANITIZERS, compiler=compiler)


@pytest.mark.parametrize("name", sorted(set(mnistcnn.list_models()) - LARGE))
def test_networks_of_the_zoo(name: str, tmp_path: Path):
    check(stirred(name), tmp_path, digits(100), *STRICT, "-O3", "-march=native")
    check(stirred(name), tmp_path, digits(10), *STRICT, *SANITIZERS)


@pytest.mark.parametrize("name", EXPORTABLE)
def test_converted_networks(name: str, tmp_path: Path):
    torch.manual_seed(0)
    shape = INPUT_SHAPES.get(name, (1, 28, 28))
    model = mnistcnn.from_torch(NETWORKS[name]().eval(), shape)
    images = np.random.default_rng(0).integers(0, 256, (3, *model.input_shape), dtype=np.uint8)
    check(model, tmp_path, images, *STRICT, *SANITIZERS)


@pytest.mark.parametrize("seed", range(2000, 2020))
def test_random_networks(seed: int, tmp_path: Path):
    graph = random_graph(seed)
    model = mnistcnn.Model(graph.layers, graph.input_shape, seed=seed)
    stir(model, torch.Generator().manual_seed(seed))
    if any(op.startswith("batchnorm") and not fields["track_running_stats"] for _, op, _, fields in model.rows):
        with pytest.raises(ValueError, match="without running statistics depends on the whole batch"):
            mnistcnn.export_c(model, tmp_path / "net.h")
    else:
        images = np.random.default_rng(seed).integers(0, 256, (3, *model.input_shape), dtype=np.uint8)
        check(model, tmp_path, images, *STRICT, *SANITIZERS)


def test_two_headers_in_one_cpp_file(tmp_path: Path):
    """The names of a header begin with its own name, and C++ accepts it."""
    model = stirred("budget_model3")
    second = mnistcnn.export_c(model, tmp_path / "second.h")
    path = mnistcnn.export_c(model, tmp_path / "net.h")
    path.write_text(f'#include "{second.name}"\n' + path.read_text())
    program = build(path, 784, 10, "-std=c++17", *WARNINGS, suffix="cpp")
    np.testing.assert_allclose(outputs_of(program, digits(5)), model(digits(5)).detach(), atol=1e-5)


def test_comment_states_flash_ram_and_macs(tmp_path: Path):
    model = mnistcnn.create_model("session7_net")
    text = mnistcnn.export_c(model, tmp_path / "digit.h").read_text()
    program = lowered(model)
    sizes = [int(each) for each in re.findall(r"static const float \w+\[(\d+)\]", text)]
    assert 4 * sum(sizes) <= flash(program) <= 4 * sum(sizes) + 2000  # plus the indices of pooling windows
    work = int(re.search(r"#define digit_WORK (\d+)", text)[1])
    assert ram(program) == 4 * work
    for number in (flash(program), ram(program), model.summary().macs, model.parameter_count):
        assert f"{number:,} " in text.partition("*/")[0]


def test_module_of_pytorch_is_converted(tmp_path: Path):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    mnistcnn.from_torch(module, normalization=mnistcnn.Normalization(0.1307, 0.3081))
    program = build(mnistcnn.export_c(module, tmp_path / "net.h"), 784, 10, *STRICT)
    images = digits(3)
    wanted = mnistcnn.from_torch(module)(images).detach()
    np.testing.assert_allclose(outputs_of(program, images), wanted, atol=1e-5)


@pytest.mark.parametrize("export", [mnistcnn.export_c, mnistcnn.export_html, mnistcnn.export_onnx])
@pytest.mark.parametrize("name", ["net.safetensors", "net.pt", "net.png"])
def test_suffix_of_another_format_raises(export: Any, name: str, tmp_path: Path):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match=rf"suffix of another format, got .*{name}'"):
        export(mnistcnn.create_model("session7_net"), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("digit.h", "digit"), ("my-net.v2.h", "my_net_v2"), ("9.h", "model_9"), ("é.h", "model"), ("_a.h", "a")],
)
def test_prefix_is_an_identifier(name: str, prefix: str):
    assert prefix_of(Path(name)) == prefix
