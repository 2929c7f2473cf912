"""Model files: loading restores what was saved; a damaged file raises an OSError that names it."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import random
import resource
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import mnistcnn
from mnistcnn._internal.tensor_files import digest_of
from mnistcnn.nn import load, save
from mnistcnn.nn.class_names import class_names


@pytest.fixture(scope="module")
def model() -> mnistcnn.Model:
    """Small model with all features of a file: blocks, running statistics, tuples, a normalization, class names."""
    layers = {
        "body": [
            mnistcnn.layers.Conv2d(2, (3, 2), padding="same"),
            mnistcnn.layers.BatchNorm2d(momentum=None),
            mnistcnn.layers.PReLU(),
        ],
        "fork": mnistcnn.layers.Residual([mnistcnn.layers.Conv2d(2, 1)]),
        "turn": mnistcnn.layers.Permute((0, 2, 1)),
        "norm": mnistcnn.layers.LayerNorm((4, 5)),
        "flat": mnistcnn.layers.Flatten(),
        "head": mnistcnn.layers.Linear(3),
    }
    made = mnistcnn.Model(
        layers, (1, 5, 4), seed=2**64 - 1, name="ünlike 'others'", normalization=mnistcnn.Normalization(0.1, 0.7)
    )
    made(torch.randn(3, 1, 5, 4, generator=torch.Generator().manual_seed(0)))  # updates the statistics
    made.class_names = ("A", "ö", "</script>")
    return made


@pytest.fixture
def saved(model: mnistcnn.Model, tmp_path: Path) -> Path:
    return model.save(tmp_path / "model.safetensors")


def same(one: mnistcnn.Model, other: mnistcnn.Model) -> bool:
    facts = [(m.rows, m.input_shape, m.name, m.seed, m.normalization, m.class_names) for m in (one, other)]
    states = one.state_dict(), other.state_dict()
    return facts[0] == facts[1] and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# ---- loading what was saved


def test_round_trip(model: mnistcnn.Model, saved: Path):
    loaded = mnistcnn.load_model(saved)
    assert same(loaded, model)
    assert loaded.training
    images = torch.randn(2, 1, 5, 4)
    torch.testing.assert_close(loaded.eval()(images), model.eval()(images))
    model.train()


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_every_published_network_round_trips(name: str, tmp_path: Path):
    model = mnistcnn.create_model(name, num_classes=4, seed=3)
    model.normalization = None
    assert same(mnistcnn.load_model(model.save(str(tmp_path / name))), model)


def test_weights_are_readable_by_other_programs(model: mnistcnn.Model, saved: Path):
    from safetensors.torch import load_file

    tensors = load_file(saved)
    assert set(tensors) == set(model.state_dict())
    assert torch.equal(tensors["head.weight"], model.head.weight)


OLD = Path(__file__).with_name("golden") / "old_model.json"  # written before dropout had the field "always"


def test_names_of_classes_are_those_of_the_training_set(tmp_path: Path):
    images, labels = torch.zeros(6, 28, 28, dtype=torch.uint8), [0, 1, 2] * 2
    data = mnistcnn.ImageSet.from_arrays(images, labels, classes=["cat", "dog", "owl"])
    model = mnistcnn.create_model("budget_model3", num_classes=4)
    assert class_names(model) == ("0", "1", "2", "3")
    mnistcnn.train(model, data, epochs=1, progress=False)
    assert model.class_names == ("cat", "dog", "owl", "3")
    assert copy.deepcopy(model).class_names == pickle.loads(pickle.dumps(model)).class_names == model.class_names
    assert mnistcnn.load_model(model.save(tmp_path / "named.safetensors")).class_names == model.class_names
    for names in (("cat",), (1, 2, 3, 4), ("cat", "dog", "owl", "cow", "ant")):
        model.class_names = names  # type: ignore[assignment]
        with pytest.raises(ValueError, match="class_names must be 4 strings"):
            model.save(tmp_path / "wrong.safetensors")


def test_files_without_class_names_are_unchanged(tmp_path: Path):
    """Numbers are not stored, so the files of networks for digits are those of earlier versions."""
    path = mnistcnn.create_model("budget_model3").save(tmp_path / "model.safetensors")
    assert b"class_names" not in path.read_bytes()


def test_frozen_parameters_stay_frozen(model: mnistcnn.Model, tmp_path: Path):
    partly = copy.deepcopy(model)
    partly.head.weight.requires_grad_(False)
    loaded = mnistcnn.load_model(partly.save(tmp_path / "partly.safetensors"))
    assert same(loaded, model)
    assert [name for name, each in loaded.named_parameters() if not each.requires_grad] == ["head.weight"]


def test_a_fixed_kernel_of_a_converted_module_is_not_trained_after_loading(tmp_path: Path, digits: Any):
    model = mnistcnn.from_torch(WithFixedKernel(), normalization=mnistcnn.Normalization(0, 1))
    loaded = mnistcnn.load_model(model.save(tmp_path / "edges.safetensors"))
    mnistcnn.train(loaded, digits[0][:64], epochs=1, progress=False)
    changed = [name for name, each in model.state_dict().items() if not torch.equal(each, loaded.state_dict()[name])]
    assert changed == ["head.weight", "head.bias"]


class WithFixedKernel(nn.Module):
    """Network whose first convolution has a fixed kernel in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edges", torch.tensor([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]]))
        self.head = nn.Linear(676, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.conv2d(images, self.edges).relu().flatten(1))


def old_model() -> mnistcnn.Model:
    """Return the model of the stored description."""
    layers = {
        "body": [
            mnistcnn.layers.Conv2d(2, 3, padding="same"),
            mnistcnn.layers.BatchNorm2d(),
            mnistcnn.layers.ReLU(),
            mnistcnn.layers.Dropout(0.1),
        ],
        "pool": mnistcnn.layers.MaxPool2d(2),
        "spatial": mnistcnn.layers.Dropout2d(0.2),
        "flat": mnistcnn.layers.Flatten(),
        "head": mnistcnn.layers.Linear(3),
        "out": mnistcnn.layers.LogSoftmax(),
    }
    return mnistcnn.Model(layers, (1, 6, 6), seed=7, name="old", normalization=mnistcnn.Normalization(0.13, 0.3))


def test_missing_fields_of_old_files_get_defaults(tmp_path: Path):
    assert "always" not in OLD.read_text()
    model = old_model()
    saved = _rewritten(model.save(tmp_path / "old.safetensors"), model=OLD.read_text())
    assert same(mnistcnn.load_model(saved), model)


# ---- damaged files


def raises_or_loads_the_same(path: Path, model: mnistcnn.Model, what: str) -> bool:
    """Return whether loading raised an OSError with the name of the file. Otherwise the model must be the same."""
    message = ""
    try:
        loaded = mnistcnn.load_model(path)
    except OSError as error:
        message = str(error)
    except BaseException as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert str(path) in message if message else same(loaded, model), what
    assert "Exception raised from" not in message, what
    return bool(message)


def test_truncated_files(model: mnistcnn.Model, saved: Path, tmp_path: Path):
    content = saved.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    lengths = {
        0,
        1,
        7,
        8,
        9,
        header // 2,
        header - 1,
        header,
        header + 1,
        header + 4,
        len(content) - 4,
        len(content) - 1,
    }
    lengths |= {random.Random(1).randrange(len(content)) for _ in range(40)}
    for size in sorted(lengths):
        path = tmp_path / "cut"
        path.write_bytes(content[:size])
        assert raises_or_loads_the_same(path, model, f"{size} of {len(content)} bytes"), f"{size} bytes were enough"


def test_bytes_after_the_end(model: mnistcnn.Model, saved: Path):
    saved.write_bytes(saved.read_bytes() + b"\0" * 8)
    assert raises_or_loads_the_same(saved, model, "8 bytes more")


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bits(seed: int, model: mnistcnn.Model, saved: Path, tmp_path: Path):
    """100 files per seed: one to three flipped bits, half of the files in the header."""
    dice = random.Random(seed)
    content = saved.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    rejected = 0
    for number in range(100):
        damaged = bytearray(content)
        for _ in range(dice.randint(1, 3)):
            position = dice.randrange(header) if number % 2 else dice.randrange(len(content))
            damaged[position] ^= 1 << dice.randrange(8)
        path = tmp_path / "flipped"
        path.write_bytes(damaged)
        rejected += raises_or_loads_the_same(path, model, f"seed {seed}, file {number}")
    assert rejected > 90, f"seed {seed}"  # changes without effect may pass, such as spaces in the header


def _rewritten(saved: Path, **changes: Any) -> Path:
    """Change the description of a file and update its digest, as another program might do."""
    from safetensors import safe_open

    with safe_open(str(saved), framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors |= changes.pop("tensors", {})
    for name in changes.pop("without", ()):
        del tensors[name]
    if "model" not in changes:
        header["model"] = json.dumps({**json.loads(header["model"]), **changes})
    else:
        header["model"] = changes["model"]
    header["digest"] = digest_of(header["model"], tensors)
    save_file(tensors, saved, header)
    return saved


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "no JSON"},
        {"model": "[]"},
        {"model": "null"},
        {"nodes": []},
        {"nodes": [["a", "nothing", [-1], {}]]},
        {"nodes": [["a", "relu", [5], {}]]},
        {"nodes": [["a", "relu"]]},
        {"nodes": 7},
        {"nodes": [["a", "linear", [-1], {"out_features": "many", "bias": True}]]},
        {"input_shape": [1, 5]},
        {"input_shape": "small"},
        {"input_shape": [1, 5, 2**70]},
        {"seed": -1},
        {"seed": "one"},
        {"normalization": {"mean": [0.0], "std": [0.0]}},
        {"normalization": {"mean": [0.0, 0.0], "std": [1.0, 1.0]}},
        {"normalization": 5},
        {"tensors": {"head.weight": torch.zeros(1)}},
        {"tensors": {"more": torch.zeros(2, dtype=torch.bfloat16)}},
        {"without": ["head.weight"]},
        {"frozen": ["head.weights"]},
        {"frozen": 5},
    ],
    ids=lambda changes: json.dumps(changes, default=lambda _: "tensor")[:60],
)
def test_wrong_descriptions(changes: dict[str, Any], saved: Path):
    path = _rewritten(saved, **dict(changes))
    with pytest.raises(OSError, match="description") as caught:
        mnistcnn.load_model(path)
    assert str(path) in str(caught.value)


def test_an_unchanged_description_loads(saved: Path, model: mnistcnn.Model):
    assert same(mnistcnn.load_model(_rewritten(saved)), model)


# ---- other files


def test_foreign_safetensors(tmp_path: Path):
    path = tmp_path / "foreign.safetensors"
    for header in (None, {"format": "pt"}):
        save_file({"weight": torch.zeros(3)}, path, header)
        with pytest.raises(OSError, match="is a safetensors file, but not a mnistcnn model"):
            mnistcnn.load_model(path)


def test_a_newer_format_version_raises(saved: Path, monkeypatch: pytest.MonkeyPatch, model: mnistcnn.Model):
    for module in (load, save):
        monkeypatch.setattr(module, "MODEL", dataclasses.replace(save.MODEL, version=2))
    model.save(saved)
    monkeypatch.undo()
    with pytest.raises(OSError, match="has format version 2; this mnistcnn reads version 1"):
        mnistcnn.load_model(saved)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(100), b"\xff" * 64, bytes(64)])
def test_other_formats(content: bytes, tmp_path: Path):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"other is damaged or not a safetensors file"):
        mnistcnn.load_model(path)


def test_pickles_are_not_executed(tmp_path: Path):
    class Dangerous:
        def __reduce__(self) -> Any:
            return pytest.fail, ("a pickle was executed",)

    path = tmp_path / "model.pt"
    torch.save(Dangerous(), path)
    with pytest.raises(OSError, match="damaged or not a safetensors file"):
        mnistcnn.load_model(path)


def test_a_file_of_torch_save_suggests_load_weights(model: mnistcnn.Model, tmp_path: Path):
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    with pytest.raises(OSError, match=r"weights\.pt.*looks like a file of torch\.save.*load_weights"):
        mnistcnn.load_model(path)


def test_missing_files_and_folders(model: mnistcnn.Model, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"file .*nowhere.* does not exist"):
        mnistcnn.load_model(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError, match=f"{tmp_path} is a directory; name a file in it"):
        mnistcnn.load_model(tmp_path)
    with pytest.raises(IsADirectoryError, match="is a directory; name a file in it"):
        model.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"the directory .*nowhere does not exist"):
        model.save(tmp_path / "nowhere" / "model")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("net.pt", "torch.save"),
        ("net.PTH", "torch.save"),
        ("net.onnx", "export_onnx"),
        ("net.h", "export_c"),
        ("net.html", "export_html"),
        ("net.json", "$"),
        ("net.txt", "$"),
    ],
)
def test_suffix_of_another_format_raises(name: str, hint: str, model: mnistcnn.Model, tmp_path: Path):
    with pytest.raises(ValueError, match=rf"suffix of another format, got .*; use \.safetensors.*{hint}"):
        model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net", "net-1.0", "net.best"])
def test_names_without_a_suffix_of_a_format_are_accepted(name: str, model: mnistcnn.Model, tmp_path: Path):
    assert mnistcnn.load_model(model.save(tmp_path / name)).name == model.name


# ---- atomic writes


def _fails(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("function", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failed_write_keeps_the_existing_file(
    function: str, existing: bool, model: mnistcnn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "model.safetensors"
    if existing:
        path.write_bytes(b"the old file")
    with monkeypatch.context() as patched:
        patched.setattr(function, _fails)
        with pytest.raises(OSError, match="No space left"):
            model.save(path)
    assert [each.name for each in tmp_path.iterdir()] == (["model.safetensors"] if existing else [])
    assert not existing or path.read_bytes() == b"the old file"


def test_an_interrupted_write_keeps_the_existing_file(
    model: mnistcnn.Model, saved: Path, monkeypatch: pytest.MonkeyPatch
):
    before = saved.read_bytes()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            mnistcnn.create_model("budget_model1").save(saved)
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 1


def test_a_full_disk(model: mnistcnn.Model, saved: Path):
    """A limit on the file size simulates a full disk: the write fails in the middle."""
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, limits[1]))
        with pytest.raises(OSError, match=r"model\.safetensors could not be written \(File too large\)"):
            mnistcnn.create_model("recognition_cnn").save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 1
    assert same(mnistcnn.load_model(saved), model)


def test_files_have_default_permissions(model: mnistcnn.Model, tmp_path: Path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    assert stat.S_IMODE(model.save(tmp_path / "model").stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_arrays_of_text_beside_the_weights():
    source = mnistcnn.create_model("budget_model3", seed=5)
    model = mnistcnn.create_model("budget_model3").load_weights(
        {**source.state_dict(), "classes": np.array(["a", "b"])}  # type: ignore[dict-item]
    )
    assert torch.equal(model.state_dict()["conv1.weight"], source.state_dict()["conv1.weight"])


def test_weights_as_arrays():
    other = mnistcnn.create_model("budget_model3", seed=5)
    source = mnistcnn.create_model("budget_model3", seed=6)
    other.load_weights({name: tensor.numpy() for name, tensor in source.state_dict().items()})
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in other.state_dict().items())
