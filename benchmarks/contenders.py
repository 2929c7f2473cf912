"""The contenders: the same network and images, trained as a user of each library would train them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.data.datasets import load_auto

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of outputs and labels

# ---- the same network in torch.nn


def torch_network(model: mnistcnn.Model) -> nn.Sequential:
    """Return an ``nn.Sequential`` of the model's layers, with its weights; raise ValueError unless it is a chain.

    The ``GraphModule`` of `to_torch` looks up layers with dotted names by their path. This overhead is noticeable for
    small batches, and a hand-written module does not have it.
    """
    layers = [each for each in model.to_torch().modules() if not list(each.children())]
    if len(layers) != len(model.rows):
        raise ValueError(f"{model.name} is not a chain of layers")
    return nn.Sequential(*layers)


# ---- training


def torch_loss(model: mnistcnn.Model) -> Loss:
    """Return the loss function that fits the outputs of the model."""
    return F.nll_loss if model.outputs == "log_probabilities" else F.cross_entropy


class TorchStep:
    """Usual training step in PyTorch, with SGD.

    ``variant`` is "eager", "channels_last" or "compile", each with or without " bf16" for autocast to bfloat16.
    """

    def __init__(self, network: nn.Module, loss: Loss, variant: str = "eager", device: str = "cpu") -> None:
        mode, _, precision = variant.partition(" ")
        self.layout = torch.channels_last if mode == "channels_last" else torch.contiguous_format
        self.autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
        network = network.train().to(device, memory_format=self.layout)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        self.network = torch.compile(network) if mode == "compile" else network
        self.loss = loss

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Train on one batch of images in the layout of the variant, and return its loss."""
        self.optimizer.zero_grad()
        with self.autocast:
            loss = self.loss(self.network(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class TorchTraining(TorchStep):
    """Usual training loop in PyTorch, with the images in memory."""

    def __init__(
        self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, variant: str, device: str = "cpu"
    ) -> None:
        super().__init__(torch_network(model), torch_loss(model), variant, device)
        self.images, self.labels = torch.tensor(data.images).to(device), torch.tensor(data.labels).to(device)
        self.batch_size = batch_size
        (self.scale,), (self.shift,) = model.pixel_normalization.scale, model.pixel_normalization.shift

    def steps(self, count: int) -> None:
        """Train for a number of steps."""
        device = self.images.device
        order = torch.randperm(len(self.images), device=device)[: count * self.batch_size]
        total = torch.zeros((), device=device)
        for indices in order.split(self.batch_size):
            images = self.images[indices].float().mul_(self.scale).add_(self.shift)
            total += self.step(images.contiguous(memory_format=self.layout), self.labels[indices])
        total.item()  # on a GPU: wait for the kernels


class OurTraining:
    """Training with `mnistcnn.Trainer`, one call per measurement."""

    def __init__(
        self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, engine: str, threads: int
    ) -> None:
        self.trainer = mnistcnn.Trainer(
            model,
            batch_size=batch_size,
            optimizer=mnistcnn.optim.SGD(lr=0.01, momentum=0.9),
            engine=engine,
            threads=threads,
            progress=False,
        )
        self.data, self.batch_size = data, batch_size

    def steps(self, count: int) -> None:
        """Train for a number of steps."""
        for _ in self.trainer.epochs(self.data[: count * self.batch_size], epochs=1):
            pass


# ---- prediction


class Pixels(nn.Module):
    """PyTorch network that takes uint8 pixels and normalizes them, as a `Model` does."""

    def __init__(self, model: mnistcnn.Model) -> None:
        super().__init__()
        (self.scale,), (self.shift,) = model.pixel_normalization.scale, model.pixel_normalization.shift
        self.network = torch_network(model).eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs of the network for uint8 images [N, C, H, W]."""
        outputs: torch.Tensor = self.network(images.float() * self.scale + self.shift)
        return outputs


class TorchPrediction:
    """Prediction with PyTorch in inference mode, batch by batch."""

    def __init__(self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, variant: str) -> None:
        layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        self.network = Pixels(model).to(memory_format=layout)
        self.batches = torch.tensor(data.images).contiguous(memory_format=layout).split(batch_size)

    def steps(self, count: int) -> None:
        """Predict a number of batches."""
        with torch.inference_mode():
            for images in self.batches[:count]:
                self.network(images)


class OurPrediction:
    """Prediction with one call of `mnistcnn.predict`."""

    def __init__(
        self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, engine: str, threads: int
    ) -> None:
        self.model, self.images, self.batch_size = model, data.images, batch_size
        self.options = {"batch_size": batch_size, "engine": engine, "threads": threads}

    def steps(self, count: int) -> None:
        """Predict a number of batches."""
        mnistcnn.predict(self.model, self.images[: count * self.batch_size], **self.options)


class OnnxPrediction:
    """Prediction with onnxruntime. The first call exports the network, which may fail."""

    def __init__(self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, threads: int) -> None:
        self.model, self.data, self.batch_size, self.threads = model, data, batch_size, threads
        self.session: Any = None

    def steps(self, count: int) -> None:
        """Predict a number of batches."""
        if self.session is None:
            self.session = self._export()
        for first in range(0, count * self.batch_size, self.batch_size):
            self.session.run(None, {"images": self.data.images[first : first + self.batch_size]})

    def _export(self) -> Any:
        import onnxruntime

        example = torch.tensor(self.data.images[: self.batch_size])
        program = torch.onnx.export(
            Pixels(self.model).eval(), (example,), input_names=["images"], dynamo=True, verbose=False
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        return onnxruntime.InferenceSession(
            program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


# ---- data and networks


def load(batch_size: int) -> mnistcnn.ImageSet:
    """Return the training set of MNIST if it is on this machine, else of `digits`, without an incomplete last batch."""
    data = load_auto(download=False).train
    return data[: len(data) // batch_size * batch_size]


def names_of(networks: Sequence[str]) -> list[str]:
    """Return the names of the networks, where ``["all"]`` stands for all published ones."""
    return mnistcnn.list_models() if list(networks) == ["all"] else list(networks)


def engines_of(model: mnistcnn.Model) -> list[str]:
    """Return the names of the engines that support the model."""
    return ["aten", *(["lanes"] if core.lanes_unsupported_reason(model._network) is None else [])]
