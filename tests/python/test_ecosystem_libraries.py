"""Libraries for PyTorch give the same results with an accelerated module or a `Model` as with a plain copy of it."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mnistcnn
from ecosystem_networks import IMAGES, LABELS, Net, close, convolution, every_kind, plain, step

pytestmark = pytest.mark.usefixtures("torch_randomness_restored", "one_torch_thread")
Make = Callable[[], nn.Module]


# ---- checks of where a network runs. An unexpected EngineWarning is an error.


@contextmanager
def in_engine() -> Iterator[None]:
    """Check that the engine computes at least one call of a network in this block. Conversions do not count."""
    batches: list[int] = []
    given = mnistcnn.Model._forward_in_engine

    def forward_in_engine(model: mnistcnn.Model, images: torch.Tensor, *tensors: Any) -> torch.Tensor:
        batches.append(len(images))
        return given(model, images, *tensors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnistcnn.Model, "_forward_in_engine", forward_in_engine)
        yield
    assert batches


@contextmanager
def in_torch(reason: str) -> Iterator[None]:
    """Check that this block emits one EngineWarning, with this reason."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", mnistcnn.EngineWarning)  # other warnings keep their filters
        yield
    (warning,) = caught
    assert reason in str(warning.message)


def check_that_it_runs_in_engine(net: nn.Module) -> None:
    with in_engine():
        net(IMAGES)


def close_after_training(actual: torch.Tensor, desired: torch.Tensor) -> None:
    """Compare with a tolerance for a ReLU input whose sign differs between the networks by rounding."""
    torch.testing.assert_close(actual, desired, rtol=1e-3, atol=3e-4)


def check_same_tensors(actual: nn.Module, desired: nn.Module) -> None:
    for actual_tensor, desired_tensor in zip(actual.state_dict().values(), desired.state_dict().values(), strict=True):
        close_after_training(actual_tensor, desired_tensor)


def batches() -> DataLoader[Any]:
    return DataLoader(TensorDataset(IMAGES, LABELS), batch_size=8)


# ---- model summaries and FLOP counters, which add hooks to the layers


@every_kind
def test_torchinfo(make: Make) -> None:
    torchinfo = pytest.importorskip("torchinfo")
    net = make()
    expected = torchinfo.summary(plain(net), input_data=IMAGES, verbose=0)
    with in_torch("hooks on"):
        found = torchinfo.summary(net, input_data=IMAGES, verbose=0)
    for name in ("total_params", "trainable_params", "total_mult_adds", "total_output_bytes"):
        assert getattr(found, name) == getattr(expected, name) > 0, name
    layers, expected_layers = (
        [(layer.class_name, layer.output_size, layer.num_params, layer.macs) for layer in each.summary_list[1:]]
        for each in (found, expected)
    )
    assert layers == expected_layers
    check_that_it_runs_in_engine(net)


@every_kind
def test_torchsummary(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    torchsummary = pytest.importorskip("torchsummary")
    net = make()
    twin = plain(net)
    torchsummary.summary(twin, (1, 28, 28), device="cpu")
    expected = capsys.readouterr().out
    with in_torch("hooks on"):
        torchsummary.summary(net, (1, 28, 28), device="cpu")
    assert capsys.readouterr().out == expected
    assert "Conv2d-1" in expected
    check_that_it_runs_in_engine(net)


@every_kind
@pytest.mark.filterwarnings("ignore:.*distutils.*:DeprecationWarning:thop")  # on import
def test_thop(make: Make) -> None:
    thop = pytest.importorskip("thop")
    net = make()
    expected = thop.profile(plain(net), inputs=(IMAGES,), verbose=False, ret_layer_info=True)
    with in_torch("hooks on"):
        found = thop.profile(net, inputs=(IMAGES,), verbose=False, ret_layer_info=True)
    assert found == expected
    assert found[0] > 0
    check_that_it_runs_in_engine(net)


# ---- captum


def attributions(name: str, net: nn.Module) -> torch.Tensor:
    from captum import attr

    images, classes = IMAGES[:4], LABELS[:4]
    method = getattr(attr, name)(net)
    if name == "IntegratedGradients":
        return method.attribute(images, target=classes, n_steps=8)
    if name == "Occlusion":
        return method.attribute(images, target=classes, sliding_window_shapes=(1, 14, 14), strides=(1, 7, 7))
    return method.attribute(images, target=classes)


def check_same_attributions(actual: torch.Tensor, desired: torch.Tensor) -> None:
    """Compare relative to the largest attribution, because those of single pixels are small."""
    close(actual / desired.abs().max(), desired / desired.abs().max())


@every_kind
@pytest.mark.parametrize("name", ["IntegratedGradients", "InputXGradient", "Saliency", "Occlusion"])
@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients:UserWarning:captum")
def test_captum_on_the_whole_network(name: str, make: Make) -> None:
    pytest.importorskip("captum")
    net = make().eval()
    expected = attributions(name, plain(net))
    with in_engine():
        found = attributions(name, net)
    check_same_attributions(found, expected)


@every_kind
@pytest.mark.parametrize("name", ["DeepLift", "GuidedBackprop"])
@pytest.mark.filterwarnings(
    "ignore:Input Tensor 0 did not already require gradients:UserWarning:captum",
    "ignore:Setting (forward, backward hooks and attributes|backward hooks) on:UserWarning:captum",
)
def test_captum_with_hooks_on_activations(name: str, make: Make) -> None:
    """A network with functional activations has no activation layer to hook.

    DeepLift calls the network with images and baselines, which its hook on the network concatenates.
    """
    pytest.importorskip("captum")
    net = make().eval()
    expected = attributions(name, plain(net))
    if isinstance(net, mnistcnn.Model):
        with in_torch("hooks on"):
            found = attributions(name, net)
    elif name == "DeepLift":
        with in_torch("other arguments than one batch"):
            found = attributions(name, net)
    else:
        with in_engine():
            found = attributions(name, net)
    check_same_attributions(found, expected)
    check_that_it_runs_in_engine(net)


@every_kind
def test_captum_on_a_layer(make: Make) -> None:
    pytest.importorskip("captum")
    from captum.attr import LayerActivation, LayerGradCam

    net = make().eval()
    twin = plain(net)
    with in_torch("hooks on"):
        found = LayerGradCam(net, convolution(net)).attribute(IMAGES, target=LABELS)
        activations = LayerActivation(net, convolution(net)).attribute(IMAGES)
    check_same_attributions(found, LayerGradCam(twin, convolution(twin)).attribute(IMAGES, target=LABELS))
    close(activations, LayerActivation(twin, convolution(twin)).attribute(IMAGES))
    check_that_it_runs_in_engine(net)


# ---- skorch


def classifier(net: nn.Module | Make, **options: Any) -> Any:
    import skorch

    given = {"criterion": nn.CrossEntropyLoss, "lr": 0.1, "batch_size": 8, "train_split": None, "verbose": 0}
    return skorch.NeuralNetClassifier(net, **{**given, **options})


@every_kind
def test_skorch_fit_and_pickle(make: Make) -> None:
    pytest.importorskip("skorch")
    net = make()
    desired = classifier(plain(net), max_epochs=3).fit(IMAGES.numpy(), LABELS.numpy())
    with in_engine():
        actual = classifier(net, max_epochs=3).fit(IMAGES.numpy(), LABELS.numpy())
    assert actual.module_ is net
    check_same_tensors(actual.module_, desired.module_)
    np.testing.assert_allclose(actual.history[:, "train_loss"], desired.history[:, "train_loss"], rtol=1e-3)
    probabilities = actual.predict_proba(IMAGES.numpy())
    np.testing.assert_allclose(probabilities, desired.predict_proba(IMAGES.numpy()), atol=3e-4)
    unpickled = pickle.loads(pickle.dumps(actual))
    np.testing.assert_allclose(unpickled.predict_proba(IMAGES.numpy()), probabilities, atol=1e-5)
    unpickled.partial_fit(IMAGES.numpy(), LABELS.numpy())
    actual.partial_fit(IMAGES.numpy(), LABELS.numpy())
    check_same_tensors(unpickled.module_, actual.module_)


@every_kind
@pytest.mark.parametrize("by_function", [False, True], ids=["a module", "a function that makes it"])
def test_skorch_grid_search(by_function: bool, make: Make) -> None:
    """Each fit copies the module. The copy runs in PyTorch if the module was accelerated."""
    pytest.importorskip("skorch")
    from sklearn.model_selection import GridSearchCV

    def search(module: nn.Module | Make) -> Any:
        net = classifier(module, max_epochs=1)
        grid = {"lr": [0.01, 0.5]}
        return GridSearchCV(net, grid, cv=2, scoring="neg_log_loss").fit(IMAGES.numpy(), LABELS.numpy())

    def make_plain() -> nn.Module:
        return plain(make())

    desired = search(make_plain if by_function else make_plain())
    actual = search(make if by_function else make())
    assert actual.best_params_ == desired.best_params_
    scores, expected = (each.cv_results_["mean_test_score"] for each in (actual, desired))
    np.testing.assert_allclose(scores, expected, rtol=1e-3)
    check_same_tensors(actual.best_estimator_.module_, desired.best_estimator_.module_)
    if by_function:
        check_that_it_runs_in_engine(actual.best_estimator_.module_)


@every_kind
def test_skorch_callbacks(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("skorch")
    from skorch.callbacks import Checkpoint, EpochScoring, Freezer, GradientNormClipping, LoadInitState, LRScheduler

    def fit(net: nn.Module, folder: str, frozen: str) -> Any:
        checkpoint = Checkpoint(dirname=tmp_path / folder, monitor="train_loss_best")
        callbacks = [
            EpochScoring("accuracy", on_train=True, lower_is_better=False),
            LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
            GradientNormClipping(0.5),
            Freezer([frozen]),
            checkpoint,
            LoadInitState(checkpoint),
        ]
        return classifier(net, max_epochs=2, callbacks=callbacks).fit(IMAGES.numpy(), LABELS.numpy())

    net = make()
    twin = plain(net)
    frozen = next(name for name, parameter in net.named_parameters() if parameter is convolution(net).weight)
    first = convolution(net).weight.detach().clone()
    for _ in range(2):  # the second fit starts from the checkpoint
        desired = fit(twin, "theirs", frozen)
        with in_engine():
            actual = fit(net, "ours", frozen)
        assert actual.history[:, "accuracy"] == desired.history[:, "accuracy"]
        check_same_tensors(net, twin)
    assert len(actual.history) == 4
    assert convolution(net).weight.equal(first)
    other = classifier(make()).initialize()
    other.load_params(checkpoint=Checkpoint(dirname=tmp_path / "ours"))
    check_same_tensors(other.module_, net)


# ---- Lightning

lightning_warnings = pytest.mark.filterwarnings(
    "ignore:The '.*dataloader' does not have many workers:UserWarning:lightning",
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning:lightning",
)


def lightning_module(net: nn.Module | None = None, **members: nn.Module) -> Any:
    """Return a LightningModule that trains the given network, or by default its own layers."""
    import lightning

    class Classifier(lightning.LightningModule):
        def __init__(self, net: nn.Module | None) -> None:
            super().__init__()
            self.net, self.example_input_array = net, IMAGES[:2]
            if net is None:
                self.conv, self.norm, self.fc = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return Net.forward(self, images) if self.net is None else self.net(images)

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            outputs = self(batch[0])
            loss = F.nll_loss(outputs, batch[1])
            self.log("loss", loss)
            for name, metric in members.items():
                metric(outputs, batch[1])
                self.log(name, metric)
            return loss

        def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
            self.log("validation_loss", F.nll_loss(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    module = Classifier(net)
    for name, member in members.items():
        setattr(module, name, member)
    return module


def trainer(folder: Path, epochs: int = 2, **options: Any) -> Any:
    import lightning

    given = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(max_epochs=epochs, default_root_dir=folder, **{**given, **options})


@every_kind
@lightning_warnings
def test_lightning(make: Make, tmp_path: Path) -> None:
    """Fit, save, load, resume and predict."""
    pytest.importorskip("lightning")
    net = make()
    losses, modules, predictions = [], [], []
    for network, name, other in ((net, "ours", make()), (plain(net), "theirs", plain(make()))):
        module = lightning_module(network)
        first = trainer(tmp_path, enable_checkpointing=False)
        first.fit(module, batches(), batches())
        path = tmp_path / f"{name}.ckpt"
        first.save_checkpoint(path)
        second = trainer(tmp_path, epochs=3, enable_checkpointing=False)
        continued = lightning_module(other)
        second.fit(continued, batches(), batches(), ckpt_path=path)
        losses.append([float(each.callback_metrics["validation_loss"]) for each in (first, second)])
        modules.append(continued)
        predictions.append(torch.cat(second.predict(continued, DataLoader(IMAGES, batch_size=8))))
    np.testing.assert_allclose(*losses, rtol=1e-3)
    check_same_tensors(*modules)
    close_after_training(*predictions)
    check_that_it_runs_in_engine(net)
    check_that_it_runs_in_engine(modules[0])


@every_kind
@lightning_warnings
def test_lightning_loads_a_checkpoint(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    net = make()
    module = lightning_module(net)
    with in_engine():
        fitted = trainer(tmp_path, epochs=1)
        fitted.fit(module, batches(), batches())
    fitted.save_checkpoint(tmp_path / "one.ckpt")
    other = type(module).load_from_checkpoint(tmp_path / "one.ckpt", net=make(), weights_only=True)
    assert other.eval()(IMAGES).equal(module.eval()(IMAGES))
    check_that_it_runs_in_engine(other)


@every_kind
@lightning_warnings
def test_lightning_summary(make: Make) -> None:
    """The summary adds hooks to the layers and counts operations in a dispatch mode."""
    pytest.importorskip("lightning")
    from lightning.pytorch.utilities.model_summary import ModelSummary

    net = make()
    twin = plain(net)
    expected = ModelSummary(lightning_module(twin), max_depth=-1)
    with in_torch("hooks on"):
        found = ModelSummary(lightning_module(net), max_depth=-1)
    assert found.out_sizes[0] == [2, 10]
    for name in ("in_sizes", "out_sizes", "param_nums", "total_flops", "total_parameters"):
        assert getattr(found, name) == getattr(expected, name), name
    check_that_it_runs_in_engine(net)


@every_kind
@lightning_warnings
def test_lightning_in_mixed_precision(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    net = make()
    twin = plain(net)
    options = {"precision": "bf16-mixed", "enable_checkpointing": False}
    trainer(tmp_path, **options).fit(lightning_module(twin), batches(), batches())
    with in_torch("autocast"):
        trainer(tmp_path, **options).fit(lightning_module(net), batches(), batches())
    check_same_tensors(net, twin)
    check_that_it_runs_in_engine(net)


@lightning_warnings
def test_lightning_module_that_is_accelerated_itself(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    net = lightning_module()
    twin = copy.deepcopy(net)
    mnistcnn.accelerate(net)
    trainer(tmp_path / "theirs").fit(twin, batches(), batches())
    with in_engine():
        trainer(tmp_path / "ours").fit(net, batches(), batches())
    check_same_tensors(net, twin)


@lightning_warnings
def test_accelerated_lightning_module_after_its_training(tmp_path: Path) -> None:
    """Lightning sets the attribute `_trainer`."""
    pytest.importorskip("lightning")
    net = mnistcnn.accelerate(lightning_module())
    trainer(tmp_path).fit(net, batches(), batches())
    check_that_it_runs_in_engine(net)


@lightning_warnings
def test_accelerated_lightning_module_that_logs_a_metric(tmp_path: Path) -> None:
    """Lightning sets the attribute `_metric_attributes`."""
    pytest.importorskip("lightning")
    torchmetrics = pytest.importorskip("torchmetrics")
    net = lightning_module(accuracy=torchmetrics.Accuracy(task="multiclass", num_classes=10))
    mnistcnn.accelerate(net)
    with in_engine():
        trainer(tmp_path).fit(net, batches(), batches())


# ---- torchmetrics


@every_kind
def test_torchmetrics(make: Make) -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    net = make().eval()
    twin = plain(net)
    results = []
    for network in (net, twin):
        options = {"task": "multiclass", "num_classes": 10}
        metrics = torchmetrics.MetricCollection(
            [torchmetrics.Accuracy(**options), torchmetrics.CalibrationError(**options), torchmetrics.AUROC(**options)]
        )
        for images, labels in batches():
            metrics.update(network(images).exp(), labels)
        results.append(metrics.compute())
    assert results[0].keys() == results[1].keys()
    for name in results[0]:
        close(results[0][name], results[1][name])
    check_that_it_runs_in_engine(net)


def test_a_metric_among_the_members_of_an_accelerated_module() -> None:
    """The state of a metric changes in every step, which must not cause a new conversion."""
    torchmetrics = pytest.importorskip("torchmetrics")
    net = Net()
    net.accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=10)
    model = mnistcnn.from_torch(mnistcnn.accelerate(net))
    net.accuracy(net(IMAGES), LABELS)
    assert mnistcnn.from_torch(net) is model


# ---- ignite


@every_kind
def test_ignite(make: Make, tmp_path: Path) -> None:
    """A trainer with a moving average of the weights, an evaluator, and checkpoints of both networks."""
    pytest.importorskip("ignite")
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.handlers import Checkpoint, DiskSaver, EMAHandler
    from ignite.metrics import Accuracy, Loss

    net = make()
    outcomes = []
    for network, folder in ((net, tmp_path / "ours"), (plain(net), tmp_path / "theirs")):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_supervised_trainer(network, optimizer, F.nll_loss)
        evaluator = create_supervised_evaluator(network, {"accuracy": Accuracy(), "loss": Loss(F.nll_loss)})
        average = EMAHandler(network, momentum=0.5)
        average.attach(trainer)
        saved = {"network": network, "average": average.ema_model, "optimizer": optimizer, "trainer": trainer}
        checkpoint = Checkpoint(saved, DiskSaver(folder, create_dir=True))
        trainer.add_event_handler(Events.EPOCH_COMPLETED, checkpoint)
        trainer.run(batches(), max_epochs=2)
        evaluator.run(batches())
        metrics = dict(evaluator.state.metrics)
        Checkpoint.load_objects(saved, torch.load(folder / checkpoint.last_checkpoint, weights_only=True))
        trainer.run(batches(), max_epochs=3)
        outcomes.append((metrics, network, average.ema_model))
    (metrics, net, average), (expected_metrics, twin, expected_average) = outcomes
    assert metrics == pytest.approx(expected_metrics, rel=1e-3)
    check_same_tensors(net, twin)
    check_same_tensors(average, expected_average)
    check_that_it_runs_in_engine(net)


# ---- Hugging Face accelerate


@contextmanager
def accelerator(**options: Any) -> Iterator[Any]:
    """Yield an Accelerator on the CPU. Its state is global and is reset at exit."""
    import accelerate

    try:
        yield accelerate.Accelerator(cpu=True, **options)
    finally:
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        accelerate.state.GradientState._reset_state()


def train_with(given: Any, net: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Train for two epochs with the library and return the prepared network and optimizer."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    prepared, optimizer, loader = given.prepare(net, optimizer, batches())
    for _ in range(2):
        for images, labels in loader:
            with given.accumulate(prepared):
                given.backward(F.nll_loss(prepared(images), labels))
                given.clip_grad_norm_(prepared.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
    return prepared, optimizer


@every_kind
def test_hugging_face_accelerate(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    net = make()
    twin = plain(net)
    with accelerator(gradient_accumulation_steps=2) as desired:
        train_with(desired, twin)
    with accelerator(gradient_accumulation_steps=2) as actual:
        with in_engine():
            prepared, optimizer = train_with(actual, net)
        assert actual.unwrap_model(prepared) is net
        check_same_tensors(net, twin)
        actual.save_state(str(tmp_path / "state"))
        saved = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        step(net, optimizer)
        actual.load_state(str(tmp_path / "state"))
        for name, tensor in net.state_dict().items():
            assert tensor.equal(saved[name]), name
        actual.save_model(prepared, str(tmp_path / "model"))
    other = make()
    from safetensors.torch import load_model

    load_model(other, tmp_path / "model" / "model.safetensors")
    assert other.eval()(IMAGES).equal(net.eval()(IMAGES))
    check_that_it_runs_in_engine(net)


@every_kind
def test_hugging_face_accelerate_in_mixed_precision(make: Make) -> None:
    """`prepare` overrides the forward of the instance, and `unwrap_model` restores it."""
    pytest.importorskip("accelerate")
    net = make()
    twin = plain(net)
    with accelerator(mixed_precision="bf16") as desired:
        train_with(desired, twin)
        desired.unwrap_model(twin, keep_fp32_wrapper=False)
    with accelerator(mixed_precision="bf16") as actual:
        with in_torch("autocast" if isinstance(net, mnistcnn.Model) else "an overridden `forward`"):
            train_with(actual, net)
        actual.unwrap_model(net, keep_fp32_wrapper=False)
    check_same_tensors(net, twin)
    del net.forward  # `unwrap_model` leaves the forward of the class in the instance
    check_that_it_runs_in_engine(net)
