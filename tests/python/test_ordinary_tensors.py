"""The tensors of a model can be moved, replaced and changed by the user. The next run uses their current values."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import nn

import mnistcnn
from runs import fit, small, weights

IMAGES = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(16) % 10


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def own() -> mnistcnn.Model:
    torch.manual_seed(1)
    return mnistcnn.accelerate(Net())


MODELS: dict[str, Callable[[], mnistcnn.Model]] = {"zoo": small, "accelerated": own}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=list(MODELS))


def run_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
    optimizer.step()


# ---- moved memory


def _send(queue: Any, state: dict[str, torch.Tensor]) -> None:
    queue.put(state)


@every_model
@pytest.mark.parametrize("how", ["queue", "share_memory_", "share_memory of the model", "set_", "new storage"])
def test_moved_tensors_are_used(how: str, make: Callable[[], mnistcnn.Model]) -> None:
    model = make().eval()
    with torch.no_grad():
        before = model(IMAGES)
        if how == "queue":
            queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
            _send(queue, model.state_dict())
        elif how == "share_memory_":
            for parameter in model.parameters():
                parameter.share_memory_()
        elif how == "share_memory of the model":
            model.share_memory()
        else:
            for parameter in model.parameters():
                moved = parameter.detach().clone()
                parameter.data = moved if how == "new storage" else parameter.data.set_(moved)
        assert model(IMAGES).equal(before)
        for parameter in model.parameters():
            parameter.zero_()
        assert not model(IMAGES).equal(before)
        assert model(IMAGES).isfinite().all()
    run_step(model.train(), torch.optim.SGD(model.parameters(), lr=0.1))
    assert weights(model).abs().sum() > 0


# ---- changes during a native training run


def zero_by_data(model: mnistcnn.Model) -> None:
    for parameter in model.parameters():
        parameter.data.zero_()


def zero_by_copy(model: mnistcnn.Model) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter))


def zero_by_assignment(model: mnistcnn.Model) -> None:
    model.load_state_dict({name: torch.zeros_like(each) for name, each in model.state_dict().items()}, assign=True)


def zero_by_new_storage(model: mnistcnn.Model) -> None:
    for parameter in model.parameters():
        parameter.data = torch.zeros_like(parameter)


def zero_by_shared_memory(model: mnistcnn.Model) -> None:
    for parameter in model.parameters():
        parameter.share_memory_()
        parameter.data.zero_()


class ChangeAt:
    """Callback that changes the model after the second step or epoch."""

    def __init__(self, event: str, change: Callable[[mnistcnn.Model], None]) -> None:
        self._change = change
        self.outputs: list[torch.Tensor] = []
        setattr(self, event, self._call)

    def on_train_start(self, trainer: mnistcnn.Trainer) -> None:
        self._model = trainer.model
        self._calls = 0

    def _call(self, record: Any) -> None:
        self._calls += 1
        if self._calls == 2:
            self._change(self._model)


@every_model
@pytest.mark.parametrize("event", ["on_step", "on_epoch"])
@pytest.mark.parametrize(
    "change", [zero_by_data, zero_by_copy, zero_by_assignment, zero_by_new_storage, zero_by_shared_memory]
)
def test_changes_in_a_callback_take_effect(
    change: Callable[[mnistcnn.Model], None], event: str, make: Callable[[], mnistcnn.Model], data: Any
) -> None:
    """With a learning rate of 0, the final weights are those of the change."""
    model = make()
    optimizer = mnistcnn.optim.SGD(lr=0.0)
    fit(model, data, epochs=3, optimizer=optimizer, callbacks=[ChangeAt(event, change)])
    assert all(not parameter.any() for parameter in model.parameters())
    assert any(buffer.any() for buffer in model.buffers())


def test_a_callback_reads_the_weights_of_its_step(data: Any) -> None:
    seen: list[torch.Tensor] = []

    class Watch:
        def on_train_start(self, trainer: mnistcnn.Trainer) -> None:
            self.model = trainer.model

        def on_step(self, record: mnistcnn.callbacks.StepRecord) -> None:
            seen.append(weights(self.model))

    watched, plain = small(), small()
    fit(watched, data, callbacks=[Watch()])
    fit(plain, data)
    assert len(seen) == 5
    assert all(not one.equal(other) for one, other in itertools.pairwise(seen))
    assert seen[-1].equal(weights(watched))
    assert weights(watched).equal(weights(plain))


def test_a_change_of_shape_raises_and_keeps_the_step(data: Any) -> None:
    model = small()
    kept: list[torch.Tensor] = []

    def reshape(changed: mnistcnn.Model) -> None:
        kept.append(weights(changed))
        changed.conv1.weight = nn.Parameter(torch.zeros(3))

    before = weights(model)
    with pytest.raises(ValueError, match=r"'conv1.weight' has shape \[3\]"):
        fit(model, data, callbacks=[ChangeAt("on_step", reshape)])
    model.conv1.weight = nn.Parameter(kept[0][: 4 * 9].float().view(4, 1, 3, 3))
    assert weights(model).equal(kept[0])
    assert not weights(model).equal(before)


def test_after_an_exception_the_model_has_the_weights_of_the_last_step(data: Any) -> None:
    class Stop:
        def __init__(self, step: int) -> None:
            self.step = step

        def on_step(self, record: mnistcnn.callbacks.StepRecord) -> None:
            if record.step == self.step:
                raise InterruptedError

    model, watched = small(), small()
    with pytest.raises(InterruptedError):
        fit(model, data, callbacks=[Stop(3)])
    seen: list[torch.Tensor] = []
    with pytest.raises(InterruptedError):
        fit(watched, data, callbacks=[ChangeAt("on_step", lambda each: seen.append(weights(each))), Stop(3)])
    assert weights(model).equal(weights(watched))
    assert not weights(model).equal(seen[0])


def test_backward_raises_after_training_has_changed_the_weights(data: Any) -> None:
    model = small()
    loss = model(IMAGES).sum()
    fit(model, data)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_backward_raises_after_changed_statistics() -> None:
    """As for PyTorch's batch norm in evaluation mode."""
    model = small().eval()
    loss = model(IMAGES).sum()
    model.train()
    with torch.no_grad():
        model(IMAGES)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# ---- files and copies


@every_model
@pytest.mark.parametrize("how", ["pickle", "torch.save", "deepcopy"])
def test_an_optimizer_saved_with_its_model_trains_it(how: str, make: Callable[[], mnistcnn.Model]) -> None:
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    run_step(model, optimizer)
    if how == "pickle":
        other, its = pickle.loads(pickle.dumps((model, optimizer)))
    elif how == "deepcopy":
        other, its = copy.deepcopy((model, optimizer))
    else:
        file = io.BytesIO()
        torch.save({"m": model, "o": optimizer}, file)
        file.seek(0)
        stored = torch.load(file, weights_only=False)
        other, its = stored["m"], stored["o"]
    assert weights(other).equal(weights(model))
    mnistcnn.accelerate(other)  # copies of accelerated modules run in PyTorch until then
    for network, steps in ((model, optimizer), (other, its)):
        torch.manual_seed(3)  # for dropout
        run_step(network, steps)
    assert weights(other).equal(weights(model))


@every_model
def test_safetensors_saves_and_loads_the_model(make: Callable[[], mnistcnn.Model], tmp_path: Path) -> None:
    from safetensors.torch import load_model, save_model

    model, other = make(), make()
    zero_by_data(other)
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(other, str(tmp_path / "model.safetensors"))
    assert weights(other).equal(weights(model))


def test_files_saved_while_another_thread_trains_are_valid(tmp_path: Path, data: Any) -> None:
    """Native training holds the model's lock. A loop of PyTorch does not."""
    model, path = small(), tmp_path / "model.safetensors"
    done = threading.Event()

    def train() -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(6):
            fit(model, data[:128])
            for _ in range(10):
                run_step(model, optimizer)
        done.set()

    worker = threading.Thread(target=train)
    worker.start()
    try:
        saved = 0
        while saved < 42 and not (done.is_set() and saved > 0):
            model.save(path)
            mnistcnn.load_model(path)
            saved += 1
    finally:
        worker.join(timeout=60)
    assert saved > 0
    assert mnistcnn.load_model(path).parameter_count == model.parameter_count


def test_changes_of_a_teacher_take_effect(data: Any) -> None:
    """A callback that replaces the teacher's weights changes what the student learns."""
    digests = []
    for replaced in (False, True):
        teacher, student = mnistcnn.create_model("budget_model1", seed=2), small()

        def change(_: mnistcnn.Model, teacher: mnistcnn.Model = teacher) -> None:
            zero_by_assignment(teacher)

        callbacks = [ChangeAt("on_step", change)] if replaced else []
        fit(student, data, loss=mnistcnn.losses.Distillation(teacher, weight=0.9), callbacks=callbacks)
        digests.append(weights(student))
    assert not digests[0].equal(digests[1])
