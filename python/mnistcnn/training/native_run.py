"""Adapter between the trainer and the C++ core: creates `core.TrainingRun` from a model and a recipe."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn._internal.native import core
from mnistcnn.nn.input_checks import core_tensor, model_view
from mnistcnn.optim import averaging, losses, optimizers
from mnistcnn.optim.schedules import Rates, SchedulePlan
from mnistcnn.transforms import steps as augmentation
from mnistcnn.transforms.preview import augment

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model
    from mnistcnn.training.recipes import Recipe


class NativeRun:
    """Training run of the core for one model. Each call locks the model and passes its current tensors."""

    def __init__(self, model: Model, recipe: Recipe, engine: str | None, threads: int | None) -> None:
        self._model, self._recipe = model, recipe
        self._engine, self._threads = engine, threads
        self._loss = losses.native(recipe.loss, model, recipe.label_smoothing, threads)
        self._mixing = losses.native_mixing(recipe.mixing, model, recipe.batch_size)
        self._augmentation = augmentation.native(recipe.augment) if recipe.augment else None
        self._run: core.TrainingRun | None = None
        model.native_engine(engine, threads)  # raise for a wrong choice before any work

    def begin(self, plan: SchedulePlan, *, epochs: int, steps: int) -> None:
        """Create the run at the first call, and continue after the given numbers of completed epochs and steps."""
        self._trainable()  # raise before any work
        with self._model._lock:
            if self._run is None:
                self._run = self._new_run(plan)
            self._run.continue_after(self._view(), epochs=epochs, steps=steps)

    def _new_run(self, plan: SchedulePlan) -> core.TrainingRun:
        recipe = self._recipe
        return core.TrainingRun(
            self._view(),
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            shuffle=recipe.shuffle,
            optimizer=optimizers.settings(recipe.optimizer),
            undecayed=optimizers.undecayed_ranges(recipe.optimizer, self._model._network),
            scheduled_momentum=_scheduled_momentum(recipe, plan),
            loss=self._loss,
            mixing=self._mixing,
            augmentation=self._augmentation,
            averaging=averaging.settings(recipe.averaging),
        )

    def next_epoch(self, train_set: ImageSet, rates: Rates, **reports: Any) -> dict[str, Any]:
        """Train for one epoch."""
        model = self._model
        model.check_engine_may_run()
        _check_hooks(model)
        trainable = self._trainable()
        with model._lock:
            model._forget_forward()
            return self._begun.next_epoch(
                self._view(),
                core_tensor(train_set.images),
                core_tensor(train_set.labels),
                learning_rates=rates.learning_rates,
                momenta=rates.momenta,
                trainable=trainable,
                **reports,
            )

    def evaluate(self, validation: ImageSet) -> tuple[float, float]:
        """Return mean loss and accuracy, with the averaged weights if the averaging is used for validation."""
        model = self._model
        model.check_engine_may_run()
        with model._lock:
            model._forget_forward()
            return self._begun.evaluate(self._view(), core_tensor(validation.images), core_tensor(validation.labels))

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the model has the weights that validation uses."""
        return averaging.averaged(None if self._run is None else self._run.averaging, self._model)

    def finish(self, train_set: ImageSet) -> None:
        """Write the averaged weights, if any, into the model.

        SWA computes the running statistics again, from images without augmentation unless it changes their size.
        """
        run, images = self._begun, train_set.images
        if run.averaging is None:
            return
        if tuple(train_set.shape) != self._model.input_shape:
            images = augment(images, self._recipe.augment, seed=self._recipe.seed)
        with self._model._lock:
            self._model._forget_forward()
            run.finish(self._view(), core_tensor(images))

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors that the next epoch depends on, besides the model's."""
        return self._begun.state()

    def restore(self, state: dict[str, torch.Tensor], *, epochs: int, steps: int) -> None:
        """Restore the result of `state` after the given numbers of epochs and steps; `begin` must be called first."""
        self._begun.restore(state, epochs=epochs, steps=steps)

    def arithmetic(self) -> dict[str, str]:
        """Return the settings, besides the recipe, that affect rounding."""
        engine = self._model.native_engine(self._engine, self._threads).name
        versions = {"torch": torch.__version__} if engine == "aten" else {}
        return {"engine": engine, "device": self._model.device.type, **versions}

    @property
    def _begun(self) -> core.TrainingRun:
        assert self._run is not None
        return self._run

    def _view(self) -> core.ModelView:
        return model_view(self._model, self._engine, self._threads)

    def _trainable(self) -> list[tuple[int, int]]:
        trainable = self._model.trainable_ranges()
        if not trainable:
            raise ValueError(
                f"every parameter of model '{self._model.name}' is frozen; call requires_grad_(True) on some"
            )
        return trainable


def plan_of(recipe: Recipe, epochs: int, images: int) -> SchedulePlan:
    """Return the properties of the run that schedules depend on."""
    momentum = core.momentum_of(optimizers.settings(recipe.optimizer))
    return SchedulePlan(recipe.optimizer.lr, epochs, -(-images // recipe.batch_size), momentum)


def _scheduled_momentum(recipe: Recipe, plan: SchedulePlan) -> float | None:
    """Return the schedule's initial momentum if the optimizer's is 0; None otherwise."""
    if recipe.schedule is None or plan.momentum != 0:
        return None
    momenta = recipe.schedule.rates(plan, 0, []).momenta
    return momenta[0] if momenta else None


def _check_hooks(model: Model) -> None:
    """Raise ValueError if a parameter has a hook, which a native run does not call."""
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise ValueError(
                f"parameter '{name}' has a hook, which mnistcnn's training does not call; remove it, or train in your "
                "own loop"
            )
