"""Who takes part: the same network, the same images, as each library's users would train it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn

# ---- the same network in torch.nn


def torch_network(model: mnistcnn.Model) -> nn.Sequential:
    """Its layers in one row, with its weights. All published networks are chains.

    As an nn.Sequential, because the GraphModule that `to_torch` makes of dotted names looks every layer up by its path,
    which costs a small batch time that no author's own module costs.
    """
    layers = [each for each in model.to_torch().modules() if not list(each.children())]
    if len(layers) != len(model.rows):
        raise ValueError(f"{model.name} is no chain of layers")
    return nn.Sequential(*layers)


# ---- training


class TorchTraining:
    """A training loop as it is usually written, with the images in memory."""

    def __init__(
        self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, variant: str, device: str = "cpu"
    ) -> None:
        self.images, self.labels = torch.tensor(data.images).to(device), torch.tensor(data.labels).to(device)
        self.batch_size = batch_size
        self.layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        network = torch_network(model).train().to(device, memory_format=self.layout)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        self.network = torch.compile(network) if variant == "compile" else network
        self.loss = F.nll_loss if model.outputs == "log_probabilities" else F.cross_entropy
        (self.scale,), (self.shift,) = model.pixel_normalization.scale, model.pixel_normalization.shift

    def steps(self, count: int) -> None:
        """Makes a number of steps."""
        device = self.images.device
        order = torch.randperm(len(self.images), device=device)[: count * self.batch_size]
        total = torch.zeros((), device=device)
        for indices in order.split(self.batch_size):
            images = self.images[indices].float().mul_(self.scale).add_(self.shift)
            self.optimizer.zero_grad()
            loss = self.loss(self.network(images.contiguous(memory_format=self.layout)), self.labels[indices])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        total.item()  # on a GPU: waits for the work


class OurTraining:
    """One call of `mnistcnn.train`'s own loop."""

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
        """Makes a number of steps."""
        for _ in self.trainer.epochs(self.data[: count * self.batch_size], epochs=1):
            pass


# ---- predicting


class Pixels(nn.Module):
    """A network that takes uint8 pixels, as ours do."""

    def __init__(self, model: mnistcnn.Model) -> None:
        super().__init__()
        (self.scale,), (self.shift,) = model.pixel_normalization.scale, model.pixel_normalization.shift
        self.network = torch_network(model).eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The network's outputs."""
        outputs: torch.Tensor = self.network(images.float() * self.scale + self.shift)
        return outputs


class TorchPrediction:
    """Batch after batch in inference mode."""

    def __init__(self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, variant: str) -> None:
        layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        self.network = Pixels(model).to(memory_format=layout)
        self.batches = torch.tensor(data.images).contiguous(memory_format=layout).split(batch_size)

    def steps(self, count: int) -> None:
        """Predicts a number of batches."""
        with torch.inference_mode():
            for images in self.batches[:count]:
                self.network(images)


class OurPrediction:
    """One call of `mnistcnn.predict`."""

    def __init__(
        self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, engine: str, threads: int
    ) -> None:
        self.model, self.images, self.batch_size = model, data.images, batch_size
        self.options = {"batch_size": batch_size, "engine": engine, "threads": threads}

    def steps(self, count: int) -> None:
        """Predicts a number of batches."""
        mnistcnn.predict(self.model, self.images[: count * self.batch_size], **self.options)


class OnnxPrediction:
    """onnxruntime on the exported network. Exports when it is first asked to run, which may fail."""

    def __init__(self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, threads: int) -> None:
        self.model, self.data, self.batch_size, self.threads = model, data, batch_size, threads
        self.session: Any = None

    def steps(self, count: int) -> None:
        """Predicts a number of batches."""
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


# ---- what they work on


def load(batch_size: int) -> mnistcnn.ImageSet:
    """The training set of MNIST where it is on this machine, else that of digits, as whole batches."""
    try:
        data = mnistcnn.load("mnist", download=False)[0]
    except OSError:
        data = mnistcnn.load("digits")[0]
    return data[: len(data) // batch_size * batch_size]


def names_of(networks: Sequence[str]) -> list[str]:
    """The networks that are meant."""
    return mnistcnn.list_models() if list(networks) == ["all"] else list(networks)
