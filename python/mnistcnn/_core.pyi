"""The compiled core. A test compares this file with the module."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

# Parameters, buffers and counters of a model, in the order of its Network.
Tensors = tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]

class DivergedError(ArithmeticError): ...

def read_idx(path: str) -> np.ndarray[Any, Any]: ...
def parse_idx(content: bytes, *, name: str) -> np.ndarray[Any, Any]: ...
def idx_file_bytes(start: bytes, *, name: str) -> int: ...
def draw_digits(
    count: int, *, seed: int, first_index: int, threads: int
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]: ...

class Augmentation:
    def __init__(self, steps: list[tuple[str, dict[str, Any]]]) -> None: ...
    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]: ...
    def run(
        self,
        images: np.ndarray[Any, np.dtype[np.uint8]],
        indices: np.ndarray[Any, np.dtype[np.int64]],
        *,
        seed: int,
        epoch: int,
        threads: int,
    ) -> np.ndarray[Any, np.dtype[np.uint8]]: ...
    def drawn(
        self, shape: tuple[int, ...], *, seed: int, epoch: int, index: int
    ) -> list[tuple[str, bool, dict[str, float]]]: ...
    def apply_first(
        self, image: np.ndarray[Any, np.dtype[np.uint8]], numbers: list[float]
    ) -> np.ndarray[Any, np.dtype[np.uint8]]: ...

class Loader:
    def __init__(
        self,
        images: np.ndarray[Any, np.dtype[np.uint8]],
        labels: np.ndarray[Any, np.dtype[np.int64]],
        augmentation: Augmentation,
        *,
        scale: list[float],
        shift: list[float],
        batch_size: int,
        seed: int,
        epoch: int,
        shuffle: bool,
        drop_last: bool,
        raw: bool,
        prefetch: int,
    ) -> None: ...
    def __iter__(self) -> Loader: ...
    def __len__(self) -> int: ...
    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]: ...

def zoo_list() -> list[dict[str, Any]]: ...
def zoo_create(name: str, *, classes: int, channels: int) -> list[tuple[str, str, list[int], dict[str, Any]]]: ...
def layer_kinds() -> dict[str, dict[str, Any]]: ...

class Network:
    def __init__(
        self,
        *,
        input_shape: list[int],
        nodes: list[tuple[str, str, list[int], dict[str, Any]]],
        shared: list[tuple[int, str, int]] = ...,
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
    def initial_tensors(self, *, seed: int) -> Tensors: ...
    def check_batch(self, *, images: int, training: bool) -> None: ...

class Guard:
    def __init__(self, entries: list[tuple[str, Any, Any, Any]]) -> None: ...
    def first_violation(self, *, training: bool) -> int: ...

def lanes_refusal(network: Network) -> str | None: ...

class Engine:
    def __init__(self, network: Network, kind: str, threads: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def memory_bytes(self) -> int: ...
    def forward(
        self, tensors: Tensors, images: torch.Tensor, *, training: bool, seed: int, keep: bool, keep_images: bool
    ) -> torch.Tensor: ...
    def backward(
        self, parameters: list[torch.Tensor], output_gradients: torch.Tensor
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]: ...

class Optimizer:
    def __init__(
        self,
        network: Network,
        settings: dict[str, Any],
        *,
        trainable: list[tuple[int, int]],
        undecayed: list[tuple[int, int]],
    ) -> None: ...
    def set_trainable(self, trainable: list[tuple[int, int]]) -> None: ...
    def step(
        self, values: torch.Tensor, gradients: torch.Tensor, *, learning_rate: float, momentum: float | None
    ) -> None: ...
    def state(self) -> dict[str, torch.Tensor]: ...
    def restore(self, state: dict[str, torch.Tensor]) -> None: ...

class Loss:
    def __init__(
        self,
        kind: str,
        *,
        label_smoothing: float,
        class_weights: list[float],
        teachers: list[tuple[Engine, Callable[[], Tensors], list[float], list[float], bool]],
        temperature: float,
        teachers_weight: float,
    ) -> None: ...

class Mixing:
    def __init__(self, kind: str, *, alpha: float) -> None: ...
    def plan(self, *, seed: int, step: int, count: int, height: int, width: int) -> dict[str, Any]: ...

def loss_and_gradients(
    loss: Loss,
    outputs: torch.Tensor,
    labels: torch.Tensor,
    *,
    partners: torch.Tensor | None = None,
    share: float = 1.0,
    images: torch.Tensor | None = None,
    scale: list[float] = ...,
    shift: list[float] = ...,
) -> tuple[float, int, torch.Tensor]: ...

class Averaging:
    def __init__(self, network: Network, tensors: Tensors, settings: dict[str, Any]) -> None: ...
    @property
    def ready(self) -> bool: ...
    @property
    def exchanged(self) -> bool: ...
    def after_step(self, network: Network, tensors: Tensors) -> None: ...
    def after_epoch(self, network: Network, tensors: Tensors, *, epoch: int) -> None: ...
    def exchange(self, network: Network, tensors: Tensors) -> None: ...
    def finish(self, network: Network, tensors: Tensors) -> None: ...
    def state(self) -> dict[str, torch.Tensor]: ...
    def restore(self, state: dict[str, torch.Tensor]) -> None: ...

def recompute_statistics(
    engine: Engine,
    tensors: Tensors,
    images: torch.Tensor,
    *,
    scale: list[float],
    shift: list[float],
    batch_size: int,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
) -> None: ...
def train_epoch(
    tensors: Callable[[], Tensors],
    engine: Engine,
    optimizer: Optimizer,
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
    learning_rates: list[float],
    momenta: list[float] | None = None,
    loss: Loss,
    mixing: Mixing | None = None,
    augmentation: Augmentation | None = None,
    averaging: Averaging | None = None,
    on_progress: Callable[[tuple[int, int, float, int]], None] | None = None,
    on_step: Callable[[int, float], None] | None = None,
    on_step_every: int = 1,
) -> dict[str, Any]: ...
def predict(
    tensors: Tensors,
    engine: Engine,
    images: torch.Tensor,
    *,
    scale: list[float],
    shift: list[float],
    batch_size: int,
    on_progress: Callable[[int], None] | None,
) -> torch.Tensor: ...
def score(outputs: torch.Tensor, labels: torch.Tensor, *, normalised: bool) -> dict[str, Any]: ...
def start_profile(engine: Engine) -> None: ...
def stop_profile(engine: Engine) -> dict[str, Any]: ...
def memory_bytes_of_step(engine: Engine, images: int) -> int: ...
def instruction_sets() -> list[str]: ...
def peak_flops(instruction_set: str, *, threads: int, seconds: float) -> float: ...
def run_multiply_adds(instruction_set: str, *, threads: int, runs: int) -> float: ...
def read_bandwidth(instruction_set: str, *, threads: int, size: int, seconds: float) -> float: ...
