"""The compiled core. A test compares this file with the module."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

class DivergedError(ArithmeticError): ...

def read_idx(path: str) -> np.ndarray[Any, Any]: ...
def draw_digits(
    count: int, *, seed: int, first_index: int, threads: int
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]: ...
def layer_kinds() -> dict[str, dict[str, Any]]: ...

class Network:
    def __init__(
        self, *, input_shape: list[int], nodes: list[tuple[str, str, list[int], dict[str, Any]]], seed: int
    ) -> None: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def nodes(self) -> list[dict[str, Any]]: ...
    @property
    def parameter_specs(self) -> list[tuple[str, tuple[int, ...], int, int]]: ...
    @property
    def buffer_specs(self) -> list[tuple[str, tuple[int, ...], int, int]]: ...
    @property
    def counter_nodes(self) -> list[int]: ...
    @property
    def parameter_count(self) -> int: ...
    @property
    def macs(self) -> int: ...
    @property
    def activation_bytes(self) -> int: ...
    @property
    def values(self) -> torch.Tensor: ...
    @property
    def gradients(self) -> torch.Tensor: ...
    @property
    def buffers(self) -> torch.Tensor: ...
    @property
    def counters(self) -> torch.Tensor: ...
    def check_batch(self, *, images: int, training: bool) -> None: ...
    def set_memory(
        self, *, values: torch.Tensor, gradients: torch.Tensor, buffers: torch.Tensor, counters: torch.Tensor
    ) -> None: ...

def lanes_refusal(network: Network) -> str | None: ...

class Engine:
    def __init__(self, network: Network, kind: str, threads: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def memory_bytes(self) -> int: ...
    def forward(
        self, images: torch.Tensor, *, training: bool, seed: int, keep: bool, keep_images: bool
    ) -> torch.Tensor: ...
    def backward(self, output_gradients: torch.Tensor) -> torch.Tensor | None: ...

class Sgd:
    def __init__(
        self,
        network: Network,
        *,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
        trainable: list[tuple[int, int]],
    ) -> None: ...
    def set_trainable(self, trainable: list[tuple[int, int]]) -> None: ...

def train_epoch(
    network: Network,
    engine: Engine,
    optimizer: Sgd,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    scale: list[float],
    shift: list[float],
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int,
    shuffle: bool,
    learning_rate: float,
    loss: str,
    label_smoothing: float,
    on_progress: Callable[[tuple[int, int, float, int]], None] | None,
) -> dict[str, Any]: ...
def predict(
    network: Network,
    engine: Engine,
    images: torch.Tensor,
    *,
    scale: list[float],
    shift: list[float],
    batch_size: int,
    on_progress: Callable[[int], None] | None,
) -> torch.Tensor: ...
def score(outputs: torch.Tensor, labels: torch.Tensor, *, normalised: bool) -> dict[str, Any]: ...
