"""PyTorch's own tools on an accelerated module and on a model of the zoo."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel, update_bn

from ecosystem_networks import IMAGES, LABELS, accelerated, close, convolution, every_kind, of_layers, plain, step

pytestmark = pytest.mark.filterwarnings("ignore:model .* runs in PyTorch:UserWarning")


@every_kind
def test_averaged_models_and_update_bn(make: Callable[[], nn.Module]) -> None:
    """`update_bn` sets the momentum of each batch norm to None after calling `train()`."""
    net = make()
    twin = plain(net)
    averages = []
    for network in (net, twin):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        average = AveragedModel(network)
        for _ in range(3):
            step(network, optimizer)
            average.update_parameters(network)
        update_bn(list(IMAGES.split(7)), average)
        update_bn(list(IMAGES.split(7)), network)
        averages.append(average)
    for actual, desired in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        close(actual, desired)
    close(averages[0](IMAGES), averages[1](IMAGES))


@every_kind
def test_pruning(make: Callable[[], nn.Module]) -> None:
    net = make()
    prune.l1_unstructured(convolution(net), "weight", amount=0.5)
    net.train()
    step(net, torch.optim.SGD(net.parameters(), lr=0.1))
    prune.remove(convolution(net), "weight")
    net.eval()
    assert (convolution(net).weight == 0).sum() == 27
    close(net(IMAGES), plain(net)(IMAGES))


@every_kind
@pytest.mark.parametrize("parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrizations(parametrize: Any, make: Callable[[], nn.Module]) -> None:
    net = make()
    parametrize(convolution(net))
    net.eval()
    twin = copy.deepcopy(net)
    close(net(IMAGES), twin(IMAGES))
    step(net.train(), torch.optim.SGD(net.parameters(), lr=0.1))
    assert all(parameter.grad is not None for parameter in convolution(net).parameters())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@every_kind
@pytest.mark.parametrize("wrap", [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm])
def test_legacy_weight_norm_and_spectral_norm(wrap: Any, make: Callable[[], nn.Module]) -> None:
    net = make()
    wrap(convolution(net))
    step(net.train(), torch.optim.SGD(net.parameters(), lr=0.1))
    assert net.eval()(IMAGES).isfinite().all()


@every_kind
def test_torch_fx_and_torch_export(make: Callable[[], nn.Module]) -> None:
    net = make().eval()
    close(torch.fx.symbolic_trace(net)(IMAGES), net(IMAGES))
    close(torch.export.export(net, (IMAGES,)).module()(IMAGES), net(IMAGES))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@every_kind
def test_export_to_onnx_by_tracing(make: Callable[[], nn.Module]) -> None:
    import onnxruntime

    net, file = make().eval(), io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(net, (IMAGES,), file, dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    other = IMAGES.flip(0)
    (found,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    close(torch.from_numpy(found), net(other).detach())


@every_kind
def test_per_image_gradients_with_vmap(make: Callable[[], nn.Module]) -> None:
    net = make().eval()
    parameters = {name: each.detach() for name, each in net.named_parameters()}
    buffers = dict(net.named_buffers())

    def loss(values: dict[str, torch.Tensor], image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        outputs = torch.func.functional_call(net, (values, buffers), (image[None],))
        return F.nll_loss(outputs, label[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, IMAGES, LABELS)
    F.nll_loss(net(IMAGES), LABELS, reduction="sum").backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(each[name].sum(0), parameter.grad, rtol=1e-3, atol=1e-4)


@every_kind
def test_safetensors(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    from safetensors.torch import load_model, save_model

    net, other = make().eval(), make().eval()
    step(net, torch.optim.SGD(net.parameters(), lr=0.5))
    save_model(net, str(tmp_path / "net.safetensors"))
    load_model(other, str(tmp_path / "net.safetensors"))
    assert other(IMAGES).equal(net(IMAGES))


def _train_in_parallel(rank: int, folder: str, kind: int) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    net = (accelerated, of_layers)[kind]().eval()  # in evaluation, batch norms do not depend on the batch
    parallel = DistributedDataParallel(net)
    half = slice(12 * rank, 12 * rank + 12)
    F.nll_loss(parallel(IMAGES[half]), LABELS[half]).backward()
    if rank == 0:
        torch.save([parameter.grad for parameter in net.parameters()], f"{folder}/gradients.pt")
    del parallel  # before its process group is destroyed
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # skip the shutdown of the interpreter, which has aborted before


@pytest.mark.parametrize("kind", [0, 1], ids=["accelerated", "of_layers"])
def test_distributed_data_parallel(kind: int, tmp_path: Path) -> None:
    """Two processes with half of the batch each compute the gradients of the whole batch."""
    torch.multiprocessing.spawn(_train_in_parallel, (str(tmp_path), kind), nprocs=2)
    net = plain((accelerated, of_layers)[kind]().eval())
    F.nll_loss(net(IMAGES), LABELS).backward()
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for actual, parameter in zip(found, net.parameters(), strict=True):
        close(actual, parameter.grad)
