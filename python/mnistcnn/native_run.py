"""The compiled side of a training run: what the recipe's values become in the core."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from torch.autograd.graph import increment_version

from mnistcnn import augmentation, losses, optimizers
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
        self._optimizer: core.Optimizer | None = None
        model.native_engine(engine, threads)  # a wrong choice is told before any work

    def epoch(
        self, train_set: ImageSet, *, epoch: int, first_step: int, rates: Rates, **listeners: Any
    ) -> dict[str, Any]:
        """One pass over the training set; ``epoch`` counts from 0."""
        model, recipe = self._model, self._recipe
        pixels = model.pixel_normalization
        increment_version(tuple(model.parameters()))  # autograd then refuses the backward of an older forward
        with model._lock:
            return core.train_epoch(
                model._network,
                model.native_engine(self._engine, self._threads),
                self._native_optimizer(rates),
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
                augmentation=augmentation.native(recipe.augment) if recipe.augment else None,
                **listeners,
            )

    def _native_optimizer(self, rates: Rates) -> core.Optimizer:
        trainable = self._model.trainable_ranges()
        if not trainable:
            raise ValueError(f"every parameter of model '{self._model.name}' is frozen: there is nothing to train")
        if self._optimizer is None:
            network, chosen = self._model._network, self._recipe.optimizer
            if rates.momenta is not None and getattr(chosen, "momentum", None) == 0:
                chosen = replace(chosen, momentum=rates.momenta[0])  # so that there is one to be moved
            undecayed = optimizers.undecayed_ranges(chosen, network)
            self._optimizer = core.Optimizer(
                network, optimizers.settings(chosen), trainable=trainable, undecayed=undecayed
            )
        self._optimizer.set_trainable(trainable)
        return self._optimizer


def plan_of(recipe: Recipe, epochs: int, images: int) -> Plan:
    """What the schedule needs to know."""
    optimizer = recipe.optimizer
    names = {each.name for each in fields(optimizer)}
    momentum = optimizer.momentum if "momentum" in names else optimizer.betas[0] if "betas" in names else None
    return Plan(optimizer.lr, epochs, -(-images // recipe.batch_size), momentum)
