"""Threads and processes: floating-point mode, OpenMP threads, fork, exit of the interpreter."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator

import pytest
import torch

import mnistcnn
from isolated import run_script, succeeds_in_forked_child
from mnistcnn._internal.native import core
from runs import random_set

needs_openmp = pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="this PyTorch has no OpenMP")


# ---- floating-point mode


@pytest.fixture
def subnormal_numbers_restored() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("torch_threads", [1, 3])  # 3 threads of PyTorch run an engine with 3 threads
def test_all_threads_use_the_floating_point_mode_of_the_caller(
    threads: int, torch_threads: int, subnormal_numbers_restored, torch_threads_restored
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(torch_threads)
    model = mnistcnn.Model([mnistcnn.layers.Conv2d(8, 5, bias=False)]).eval()
    model.threads = threads
    with torch.no_grad():
        next(model.parameters()).fill_(1e-20)
        images = torch.full((1024, 1, 28, 28), 1e-20)
        assert model(images).gt(0).all()  # products of 1e-40 are subnormal; this call starts the threads
        if not torch.set_flush_denormal(True):
            pytest.skip("this CPU cannot flush subnormal numbers")
        flushed = model(images)
        torch.set_flush_denormal(False)
        assert flushed.eq(0).all()
        assert model(images).gt(0).all()
        torch.set_num_threads(before)
        assert (torch.full((1_000_000,), 1e-20) * 1e-20).gt(0).all()  # PyTorch's threads have their own mode again


# ---- OpenMP threads

_OPENMP_SCRIPT = """
from concurrent.futures import ThreadPoolExecutor
import torch, tqdm, mnistcnn
from native_threads import native_threads
from runs import random_set
tqdm.tqdm.monitor_interval = 0  # no thread of tqdm
torch.set_num_threads(1)
data = random_set(256, size=28)
images = torch.rand(256, 1, 28, 28)
model = mnistcnn.Model([mnistcnn.layers.Conv2d(32, 5), mnistcnn.layers.BatchNorm2d(), mnistcnn.layers.ReLU(),
                        mnistcnn.layers.Dropout(0.1), mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)])
teacher = mnistcnn.create_model("session7_net")
model.engine, model.threads = "{engine}", {threads}
options = {{"epochs": 1, "batch_size": 128, "progress": False}}
pool = ThreadPoolExecutor(1)
pool.submit(int).result()
torch.set_num_threads({torch_threads})
before = native_threads()
for statement in {statements}:
    exec(statement)
    print(native_threads(before + {wanted}) - before, end=" ")
print(torch.get_num_threads())
"""
_TRAIN = "mnistcnn.train(model, data, **options)"
_STATEMENTS = [
    "model.eval().requires_grad_(False)(images); model.train().requires_grad_(True)",
    "outputs = model(images); (outputs * outputs).sum().backward()",
    "model.zero_grad(); outputs = model(images).sum(); pool.submit(outputs.backward).result()",
    _TRAIN,
    "mnistcnn.train(model, data, mixing=mnistcnn.losses.Mixup(0.3), **options)",
    "mnistcnn.train(model, data, loss=mnistcnn.losses.Distillation(teacher), **options)",
]


def added_threads(
    engine: str, threads: int | None, torch_threads: int, statements: list[str], wanted: int
) -> list[int]:
    """Return by how many threads the process has grown after each statement; wait until there are ``wanted``."""
    script = _OPENMP_SCRIPT.format(
        engine=engine, threads=threads, torch_threads=torch_threads, statements=statements, wanted=wanted
    )
    done = run_script(script, timeout_seconds=120)
    assert done.returncode == 0, done.stderr
    *added, torch_threads_after = map(int, done.stdout.split())
    assert torch_threads_after == torch_threads
    return added


@needs_openmp
@pytest.mark.parametrize("engine", ["aten", "lanes"])
def test_one_thread_starts_no_openmp_threads(engine: str) -> None:
    assert added_threads(engine, 1, 3, _STATEMENTS, 0) == [0] * len(_STATEMENTS)


@needs_openmp
@pytest.mark.parametrize(("threads", "torch_threads", "wanted"), [(3, 2, 2), (None, 3, 2), (None, 1, 0)])
def test_number_of_threads_of_aten(threads: int | None, torch_threads: int, wanted: int) -> None:
    """Without a number of its own, the engine uses that of PyTorch."""
    assert added_threads("aten", threads, torch_threads, [_TRAIN], wanted) == [wanted]


# ---- fork


@needs_openmp
def test_aten_works_in_a_forked_child(torch_threads_restored) -> None:
    """The OpenMP threads of the parent do not exist in the child."""
    torch.set_num_threads(2)
    model = mnistcnn.create_model("session7_net").eval()
    model.engine = "aten"
    images = torch.rand(64, 1, 28, 28)
    with torch.no_grad():
        expected = model(images)
        assert succeeds_in_forked_child(
            lambda: bool(torch.isclose(model(images), expected, atol=1e-5).all()), seconds=20
        )


@pytest.mark.parametrize("engine", ["lanes", "aten"])
def test_model_works_in_a_child_forked_while_another_thread_trains_it(engine: str) -> None:
    model = mnistcnn.create_model("session7_net")
    model.engine = engine
    begun, proceed = threading.Event(), threading.Event()

    class Wait:
        def on_step(self, _: object) -> None:
            begun.set()
            proceed.wait(60)

    data = random_set(64, size=28)
    options = {"epochs": 1, "batch_size": 32, "threads": 2, "progress": False}
    trainer = threading.Thread(target=lambda: mnistcnn.train(model, data, callbacks=[Wait()], **options))
    trainer.start()
    try:
        assert begun.wait(60)

        def works() -> bool:
            with torch.no_grad():
                outputs = copy.deepcopy(model).eval()(torch.zeros(4, 1, 28, 28))
                same = bool(model.eval()(torch.zeros(4, 1, 28, 28)).equal(outputs))
            mnistcnn.train(model, data, **options)
            core.end_native_calls(seconds=60)  # at exit; does not wait for the parent's thread
            return same

        assert succeeds_in_forked_child(works, seconds=20)
    finally:
        proceed.set()
        trainer.join()


# ---- exit of the interpreter

_DAEMON_SCRIPT = """
import threading, time, torch, mnistcnn
from runs import random_set
data = random_set(512, size=28)
model = mnistcnn.create_model("session7_net")
model.engine, model.threads = "{engine}", 1
images = torch.zeros(64, 1, 28, 28)
started = threading.Event()
class Start:
    def on_step(self, step): started.set()
def train(**options): mnistcnn.train(model, data, epochs=100_000, progress=False, **options)
def loop():
    with torch.no_grad():
        while True:
            model(images)
            started.set()
threading.Thread(target=lambda: {call}, daemon=True).start()
started.wait(60)
"""


@pytest.mark.parametrize(
    ("engine", "call"), [("lanes", "train(callbacks=[Start()])"), ("lanes", "loop()"), ("aten", "train()")]
)
def test_daemon_thread_ends_with_the_interpreter(engine: str, call: str) -> None:
    script = _DAEMON_SCRIPT.format(engine=engine, call=call)
    if "callbacks" not in call and "train" in call:  # without a callback the core reports every 50 ms
        script = script.replace("started.wait(60)", "time.sleep(0.3)")
    done = run_script(script, timeout_seconds=120)
    assert (done.returncode, done.stderr) == (0, "")


# ---- two threads and one model


def test_backward_beside_training_in_another_thread_raises_with_advice() -> None:
    model = mnistcnn.create_model("session7_net")
    loss = model(torch.zeros(8, 1, 28, 28)).sum()
    trainer = threading.Thread(target=lambda: mnistcnn.train(model, random_set(64, size=28), epochs=1, progress=False))
    trainer.start()
    trainer.join()
    with pytest.raises(RuntimeError, match=r"(?s)model 'session7_net' changed.*another thread.*deepcopy"):
        loss.backward()
