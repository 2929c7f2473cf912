"""The compiled side of a training run: what the recipe's values become in the core."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn import augmentation, averaging, losses, optimizers
from mnistcnn._native import core
from mnistcnn.entrance import core_tensor
from mnistcnn.schedules import Plan, Rates

if TYPE_CHECKING:
    from mnistcnn.image_set import ImageSet
    from mnistcnn.model import Model
    from mnistcnn.recipes import Recipe


class NativeRun:
    """One model, trained by one recipe, epoch by epoch."""

    def __init__(self, model: Model, recipe: Recipe, engine: str | None, threads: int | None) -> None:
        self._model, self._recipe = model, recipe
        self._engine, self._threads = engine, threads
        self._loss = losses.native(recipe.loss, model, recipe.label_smoothing)
        self._mixing = losses.native_mixing(recipe.mixing, model, recipe.batch_size)
        self._augmentation = augmentation.native(recipe.augment) if recipe.augment else None
        self._optimizer: core.Optimizer | None = None
        self._averaging: core.Averaging | None = None
        model.native_engine(engine, threads)  # a wrong choice is told before any work

    def begin(self, plan: Plan) -> None:
        """Makes what goes from epoch to epoch, unless an earlier call did."""
        if self._optimizer is None:
            network, chosen = self._model._network, _with_momentum(self._recipe, plan)
            undecayed = optimizers.undecayed_ranges(chosen, network)
            settings = optimizers.settings(chosen)
            self._optimizer = core.Optimizer(network, settings, trainable=self._trainable(), undecayed=undecayed)
        if self._averaging is None:
            self._averaging = averaging.native(self._recipe.averaging, self._model)

    def epoch(
        self, train_set: ImageSet, *, epoch: int, first_step: int, rates: Rates, **listeners: Any
    ) -> dict[str, Any]:
        """One pass over the training set; ``epoch`` counts from 0."""
        model, recipe = self._model, self._recipe
        pixels = model.pixel_normalization
        assert self._optimizer is not None
        model.check_engine_may_run()
        self._optimizer.set_trainable(self._trainable())
        with model._lock:
            model._forget_forward()
            return core.train_epoch(
                model.tensors,
                model.native_engine(self._engine, self._threads),
                self._optimizer,
                core_tensor(train_set.images),
                core_tensor(train_set.labels),
                scale=pixels.scale,
                shift=pixels.shift,
                batch_size=recipe.batch_size,
                seed=recipe.seed,
                epoch=epoch,
                first_step=first_step,
                shuffle=recipe.shuffle,
                learning_rates=rates.learning_rates,
                momenta=rates.momenta,
                loss=self._loss,
                mixing=self._mixing,
                averaging=self._averaging,
                augmentation=self._augmentation,
                **listeners,
            )

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the model has the weights that a validation should see."""
        return averaging.averaged(self._averaging, self._recipe.averaging, self._model)

    def finish(self, train_set: ImageSet) -> None:
        """The model gets its averaged weights for good, if there are any."""
        recipe = self._recipe
        averaging.finish(
            self._averaging,
            recipe.averaging,
            self._model,
            train_set.images,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            engine=self._engine,
            threads=self._threads,
        )
        self._averaging = None  # another call of `begin` starts another average

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that goes from epoch to epoch beside the model."""
        parts = {"optimizer": self._optimizer, "averaging": self._averaging}
        return {
            f"{part}.{name}": tensor
            for part, native in parts.items()
            if native is not None
            for name, tensor in native.state().items()
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """What `state` gave, after `begin`."""
        for part, native in (("optimizer", self._optimizer), ("averaging", self._averaging)):
            inner = {name.partition(".")[2]: each for name, each in state.items() if name.partition(".")[0] == part}
            if native is not None:
                native.restore(inner)

    def arithmetic(self) -> dict[str, str]:
        """What the last digits depend on beside the recipe."""
        engine = self._model.native_engine(self._engine, self._threads).name
        versions = {"torch": torch.__version__} if engine == "aten" else {}
        return {"engine": engine, "device": self._model.device.type, **versions}

    def _trainable(self) -> list[tuple[int, int]]:
        trainable = self._model.trainable_ranges()
        if not trainable:
            raise ValueError(f"every parameter of model '{self._model.name}' is frozen: there is nothing to train")
        return trainable


def plan_of(recipe: Recipe, epochs: int, images: int) -> Plan:
    """What the schedule needs to know."""
    optimizer = recipe.optimizer
    names = {each.name for each in fields(optimizer)}
    momentum = optimizer.momentum if "momentum" in names else optimizer.betas[0] if "betas" in names else None
    return Plan(optimizer.lr, epochs, -(-images // recipe.batch_size), momentum)


def _with_momentum(recipe: Recipe, plan: Plan) -> Any:
    """The optimizer, with a momentum where the schedule wants to move one that is 0."""
    optimizer, schedule = recipe.optimizer, recipe.schedule
    if schedule is None or plan.momentum != 0:
        return optimizer
    momenta = schedule.rates(plan, 0, []).momenta
    return replace(optimizer, momentum=momenta[0]) if momenta else optimizer
