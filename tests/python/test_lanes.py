"""The lanes engine through Python: bit-identical results, batch sizes, threads, memory, selection of the engine."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest
import torch

import mnistcnn
from isolated import call_with_instruction_set, run_in_threads, run_script, succeeds_in_forked_child
from mnistcnn._internal.native import core
from mnistcnn.nn import engine_choice
from native_threads import native_threads
from reference import Twin, distance, length
from runs import digest, random_set

# A small network with every kind of layer that sums.
LAYERS = {
    "stem": [mnistcnn.layers.Conv2d(6, 3, padding=1), mnistcnn.layers.BatchNorm2d(), mnistcnn.layers.GELU()],
    "depthwise": [
        mnistcnn.layers.Conv2d(6, 3, groups=6, stride=2),
        mnistcnn.layers.SiLU(),
        mnistcnn.layers.BatchNorm2d(),
    ],
    "residual": mnistcnn.layers.Residual(
        [mnistcnn.layers.Conv2d(6, 3, padding="same", dilation=2), mnistcnn.layers.Tanh()]
    ),
    "pool": mnistcnn.layers.MaxPool2d(2),
    "drop": mnistcnn.layers.Dropout(0.2),
    "flatten": mnistcnn.layers.Flatten(),
    "hidden": [mnistcnn.layers.Linear(40), mnistcnn.layers.BatchNorm1d(), mnistcnn.layers.LeakyReLU(0.1)],
    "out": mnistcnn.layers.Linear(10),
    "log": mnistcnn.layers.LogSoftmax(),
}


def trained_digest(threads: int) -> str:
    """Return the SHA-256 of weights and running statistics after three epochs; the last batch is smaller."""
    model, data = mnistcnn.Model(LAYERS, seed=5), random_set(150, size=28)
    mnistcnn.train(model, data, epochs=3, batch_size=64, seed=5, engine="lanes", threads=threads, progress=False)
    return digest(model)


def digest_with_instruction_set(threads: int, isa: str) -> str:
    return call_with_instruction_set(f"test_lanes.trained_digest({threads})", isa)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_bit_identical_with_any_number_of_threads(threads: int) -> None:
    assert trained_digest(threads) == trained_digest(1)


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_bit_identical_with_avx2_and_avx512(isa: str) -> None:
    assert digest_with_instruction_set(2, isa) == trained_digest(1)


def test_training_with_the_baseline_instruction_set() -> None:
    assert len(digest_with_instruction_set(2, "baseline")) == 64


def test_error_for_unknown_instruction_set() -> None:
    code = "import mnistcnn; mnistcnn.create_model('budget_model3').native_engine('lanes')"
    last = run_script(code, MNISTCNN_ISA="mmx").stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError:")
    assert "mmx" in last
    assert "avx2" in last


@pytest.mark.parametrize("count", [1, 15, 16, 17, 96, 100, 128, 1000])
def test_batch_sizes_agree_with_float64(count: int) -> None:
    """Rounding of float32 sums is about 1e-6 of the norm of a tensor; a missing image would be 1e-3.

    The network has no layer with a kink, at which rounding may move a whole gradient, and no dropout, which other tests
    compare.
    """
    layers = LAYERS | {
        "pool": mnistcnn.layers.AvgPool2d(2),
        "hidden": [mnistcnn.layers.Linear(40), mnistcnn.layers.Sigmoid()],
    }
    del layers["drop"]
    model = mnistcnn.Model(layers, seed=count)
    model.engine = "lanes"
    exact = Twin(model).double()
    images = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(count))
    results = []
    for network, inputs in ((model, images), (exact, images.double())):
        leaf = inputs.clone().requires_grad_()
        outputs = network(leaf)
        (outputs * torch.linspace(0.5, 1, outputs.numel()).view_as(outputs)).sum().backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        results.append([outputs.detach(), leaf.grad, *gradients, *network.buffers()])
    longest = max(length(tensor) for tensor in results[1][1 : 2 + len(gradients)])
    for ours, wanted in zip(*results, strict=True):
        assert distance(ours, wanted) <= 2e-5 * length(wanted) + 1e-6 * longest, f"{count} images"


def test_largest_network_with_batch_128_uses_less_than_1_gib() -> None:
    model = mnistcnn.create_model("assignment7_model1")
    engine = model.native_engine("lanes")
    mnistcnn.train(model, random_set(128, size=28), epochs=1, batch_size=128, engine="lanes", progress=False)
    assert 100 * 2**20 < engine.memory_bytes < 2**30


def test_two_engines_in_two_threads() -> None:
    expected = trained_digest(1)
    assert run_in_threads([lambda: trained_digest(2)] * 2) == [expected, expected]


def _train_in_child(queue: multiprocessing.Queue[str]) -> None:
    queue.put(trained_digest(2))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_training_in_a_forked_child() -> None:
    model = mnistcnn.Model(LAYERS, seed=5)
    model(torch.zeros(64, 1, 28, 28)).sum().backward()
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=_train_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=120) == trained_digest(2)
    child.join(timeout=30)
    assert child.exitcode == 0


def test_engine_works_in_parent_and_forked_child() -> None:
    model = mnistcnn.Model(LAYERS, seed=5).eval()
    images = torch.rand(100, 1, 28, 28)
    with torch.no_grad():
        expected = model(images)
        assert succeeds_in_forked_child(lambda: bool(model(images).equal(expected)), seconds=60)
        assert model(images).equal(expected)


def test_training_loop_works_in_a_forked_child(torch_threads_restored) -> None:
    """The OpenMP threads of the parent do not exist in the child."""
    torch.set_num_threads(2)
    model = mnistcnn.Model(LAYERS, seed=5)
    model.threads = 2
    images = torch.rand(100, 1, 28, 28)

    def gradient() -> torch.Tensor:
        torch.manual_seed(1)
        model.zero_grad()
        model(images).square().sum().backward()
        return model.get_parameter("stem.0.weight").grad

    expected = gradient()
    assert succeeds_in_forked_child(lambda: bool(gradient().equal(expected)), seconds=60)
    assert gradient().equal(expected)


def test_threads_end_with_the_engine() -> None:
    images = np.zeros((64, 1, 28, 28), np.uint8)
    mnistcnn.predict(
        mnistcnn.Model(LAYERS), images, engine="lanes", threads=1
    )  # also starts the thread of the progress bar
    before = native_threads()
    model = mnistcnn.Model(LAYERS)
    mnistcnn.predict(model, images, engine="lanes", threads=3)
    assert native_threads(before + 2) == before + 2
    del model
    assert native_threads(before) == before


def thread_counts(script: str) -> list[int]:
    """Return the numbers that a script prints, which starts with one OpenMP thread."""
    done = run_script(script, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return [int(count) for count in done.stdout.split()]


_TRAINING_LOOP_SCRIPT = """
import torch, mnistcnn
from isolated import call_with_instruction_set
from native_threads import native_threads
ours, theirs = {ours}, {theirs}
model = mnistcnn.Model([mnistcnn.layers.Conv2d(4, 3), mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)])
model.threads, images = ours, torch.zeros(64, 1, 28, 28)
torch.set_num_threads(1)
model(images).sum().backward()
quiet = native_threads()
torch.set_num_threads(theirs)
wanted = iter({wanted})
def seen():
    return native_threads(quiet + next(wanted)) - quiet
def after_work(large=torch.ones(1_000_000)):
    assert (large * 2).sum() == 2_000_000
    return seen()
print(after_work(), end=" ")
outputs = model(images)
print(seen(), after_work(), end=" ")
outputs.sum().backward()
print(seen(), after_work())
"""


@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="this PyTorch has no OpenMP")
def test_idle_openmp_threads_do_not_occupy_cores_of_the_engine() -> None:
    """They are ended if there are fewer cores than threads, because they spin for milliseconds; else they are kept."""
    cores = len(os.sched_getaffinity(0))

    def check(ours: int, theirs: int, wanted: list[int]) -> None:
        assert thread_counts(_TRAINING_LOOP_SCRIPT.format(ours=ours, theirs=theirs, wanted=wanted)) == wanted

    check(2, cores + 1, [cores, 0, cores, 0, cores])
    check(1, cores, [cores - 1] * 5)


_SHARED_THREADS_SCRIPT = """
import torch, mnistcnn
from isolated import call_with_instruction_set
from native_threads import native_threads
model = mnistcnn.Model([mnistcnn.layers.Conv2d(4, 3), mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)])
model.threads = {threads}
torch.set_num_threads({threads})
quiet = native_threads()
outputs = model(torch.zeros(64, 1, 28, 28))
print(native_threads() - quiet, end=" ")
del outputs, model
print(native_threads() - quiet, end=" ")
assert (torch.ones(1_000_000) * 2).sum() == 2_000_000
print(native_threads() - quiet)
"""


@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="this PyTorch has no OpenMP")
def test_engine_runs_on_openmp_threads_of_pytorch() -> None:
    """With as many threads as the engine, PyTorch's threads run it. They remain after the engine is deleted."""
    assert thread_counts(_SHARED_THREADS_SCRIPT.format(threads=3)) == [2, 2, 2]


@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="this PyTorch has no OpenMP")
def test_bit_identical_on_openmp_threads(torch_threads_restored) -> None:
    def gradients(theirs: int) -> list[torch.Tensor]:
        torch.set_num_threads(theirs)
        model = mnistcnn.Model(LAYERS, seed=1)
        model.threads = 3
        torch.manual_seed(1)
        for _ in range(5):
            images = torch.rand(70, 1, 28, 28, generator=torch.Generator().manual_seed(2))
            torch.nn.functional.nll_loss(model(images), torch.arange(70) % 10).backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    shared, own = gradients(3), gradients(1)
    assert len(shared) == len(own) > 10
    assert all(torch.equal(mine, its) for mine, its in zip(shared, own, strict=True))


def test_auto_selects_lanes_on_the_cpu() -> None:
    assert mnistcnn.create_model("session7_net").native_engine().name == "lanes"


def test_maps_whose_offsets_exceed_32_bits_are_not_supported() -> None:
    padded = mnistcnn.Model([mnistcnn.layers.Conv2d(1, 1, padding=6000)], (1, 4, 4))._network
    large = mnistcnn.Model([mnistcnn.layers.MaxPool2d(2**14)], (1, 2**14, 2**14))._network
    for network in (padded, large):
        assert "node '0': a map with its padding has more than 134217727" in (
            core.lanes_unsupported_reason(network) or ""
        )
        with pytest.raises(ValueError, match="lanes engine does not support this network: node '0'"):
            core.Engine(network, "lanes", 1)


def test_auto_warns_once_if_it_falls_back_to_aten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice.core, "lanes_unsupported_reason", lambda _: "node '0' (relu): not today")
    monkeypatch.setattr(engine_choice, "_WARNED_REASONS", set())
    model = mnistcnn.Model([mnistcnn.layers.ReLU()])
    with pytest.warns(mnistcnn.EngineWarning, match=r"lanes does not support .*node '0' \(relu\): not today"):
        assert model.native_engine().name == "aten"
    assert model.native_engine().name == "aten"  # and no second warning


def test_a_flattened_map_can_be_the_output():
    losses = []
    data = random_set(100, size=28)
    for engine in ("lanes", "aten"):
        model = mnistcnn.Model([mnistcnn.layers.Conv2d(3, 27), mnistcnn.layers.Flatten()], seed=3)
        history = mnistcnn.train(model, data, epochs=2, batch_size=40, engine=engine, progress=False)
        losses.append(history.step_losses)
        assert mnistcnn.predict(model, data[:20]).shape == (20, 12)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_dropout_in_evaluation_drops_the_same_elements_in_both_engines():
    """The large layer limits the batches of the lanes engine to 256 images; each image has its own mask."""
    layers = [mnistcnn.layers.Flatten(), mnistcnn.layers.Dropout(0.5, always=True)]
    model = mnistcnn.Model([*layers, mnistcnn.layers.Linear(200), mnistcnn.layers.Linear(10)])
    images = np.repeat(random_set(1, size=28).images, 600, axis=0)
    lanes, aten = (mnistcnn.predict(model, images, batch_size=600, engine=engine) for engine in ("lanes", "aten"))
    np.testing.assert_allclose(lanes, aten, rtol=1e-4, atol=1e-6)
    assert len(np.unique(lanes, axis=0)) == 600


def test_rounding_of_gradients_behind_global_average_pooling():
    """All positions get the same gradient, so that equal rounding errors must not add up over hundreds of positions."""
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    layers = [
        *(
            mnistcnn.layers.Conv2d(4, 3, bias=False),
            mnistcnn.layers.BatchNorm2d(),
            mnistcnn.layers.AdaptiveAvgPool2d(1),
        ),
        *(mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)),
    ]
    model = mnistcnn.Model(layers, seed=1)
    model.engine = "lanes"

    def gradient(module: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        module(inputs).square().sum().backward()
        return next(iter(module.parameters())).grad.double()

    exact = gradient(model.to_torch().double().train(), images.double())
    single = (gradient(model.to_torch().train(), images) - exact).norm()
    assert (gradient(model.train(), images) - exact).norm() < 3 * single
