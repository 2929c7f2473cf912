"""Jobs: templates of models, pickling, and results of single trials."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mnistcnn
from mnistcnn.study.folds import Fold
from mnistcnn.study.job import Job, Listener, StoppedError, Template, run_job
from mnistcnn.training.recipes import Recipe


def job(digits: Any, **changes: Any) -> Job:
    template = Template.of("budget_model3", digits[0])
    values = {"seed": 4, "train_set": digits[0][:200], "test_set": digits[1][:100], **changes}
    return Job(template, Recipe(epochs=2, batch_size=50), **values)


def test_named_network_uses_classes_and_channels_of_the_data():
    data = mnistcnn.ImageSet.from_arrays(np.zeros((6, 3, 28, 28), np.uint8), np.arange(6) % 3, classes=3)
    model = Template.of("budget_model3", data).model(1)
    assert (model.num_classes, model.input_shape) == (3, (3, 28, 28))
    assert (model.threads, model.seed) == (None, 1)


def test_seed_determines_the_initial_weights(digits: Any):
    template = Template.of("budget_model3", digits[0])
    for seed in (0, 9):
        expected = mnistcnn.create_model("budget_model3", seed=seed).state_dict()
        found = template.model(seed).state_dict()
        assert all((found[name] == tensor).all() for name, tensor in expected.items())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(4))
        self.head = nn.Linear(4 * 6 * 6, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).flatten(1))


def test_module_is_used_as_a_template(digits: Any):
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    template = Template.of(net, digits[0])
    models = [template.model(seed) for seed in (1, 1, 2)]
    found = [torch.cat([parameter.flatten() for parameter in model.parameters()]).detach() for model in models]
    assert torch.equal(found[0], found[1])
    own = torch.cat([parameter.flatten() for parameter in net.parameters()]).detach()
    for other in (found[2], own):
        assert (found[0] != other).float().mean() > 0.9  # except for the ones and zeros of the norm
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert type(models[0]) is mnistcnn.Model
    assert (template.name, Template.of(mnistcnn.from_torch(net)).digest) == ("Net", template.digest)
    assert pickle.loads(pickle.dumps(template)).digest == template.digest


def test_frozen_layers_of_a_module_keep_weights_and_statistics(digits: Any):
    net = Net()
    net.body.requires_grad_(False)
    net.body[1].running_mean += 0.5
    model = Template.of(net, digits[0]).model(3)
    for expected, found in zip(net.body.state_dict().values(), list(model.state_dict().values())[:7], strict=True):
        assert torch.equal(expected, found)
    assert [each.requires_grad for each in model.parameters()] == [each.requires_grad for each in net.parameters()]


class TwiceTheSameLayer(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.body(images)
        return self.head(self.conv(self.conv(maps).relu()).flatten(1))


def test_shared_tensors_of_a_module_are_shared_in_its_models(digits: Any):
    net = TwiceTheSameLayer()
    net.conv.bias.requires_grad_(False)
    template = Template.of(net, digits[0])
    model = template.model(3)
    assert model.parameter_count == sum(each.numel() for each in net.parameters())
    assert [name for name, each in model.named_parameters() if not each.requires_grad] == ["conv.bias"]
    assert pickle.loads(pickle.dumps(template)).digest == template.digest
    assert template.digest != Template.of(TwiceTheSameLayer(), digits[0]).digest
    net.load_state_dict(model.state_dict(), strict=False)
    images = torch.zeros(2, 1, 28, 28)
    torch.testing.assert_close(net.eval()(images), model.eval()(images))


def test_module_uses_the_image_shape_of_the_data():
    data = mnistcnn.ImageSet.from_arrays(np.zeros((6, 3, 8, 8), np.uint8), np.arange(6) % 3, classes=3)
    assert Template.of(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), data).input_shape == (3, 8, 8)


def test_class_as_template_raises(digits: Any):
    with pytest.raises(TypeError, match=r"or a name such as 'session7_net', got the class Net; write Net\(\)"):
        Template.of(Net, digits[0])  # type: ignore[arg-type]


def test_digest_depends_on_the_network_but_not_on_the_seed():
    first = Template.of(mnistcnn.create_model("session7_net", seed=1))
    assert first.digest == Template.of(mnistcnn.create_model("session7_net", seed=2)).digest
    other = mnistcnn.create_model("session7_net", seed=1)
    other.normalization = None
    assert (
        len({first.digest, Template.of(other).digest, Template.of(mnistcnn.create_model("session7_net1")).digest}) == 3
    )
    assert pickle.loads(pickle.dumps(first)).digest == first.digest


def test_run_job_matches_train_and_test(digits: Any):
    trial = run_job(job(digits))
    model = mnistcnn.create_model("budget_model3", seed=4)
    history = mnistcnn.train(model, digits[0][:200], Recipe(epochs=2, batch_size=50, seed=4), progress=False)
    assert trial.history.step_losses == history.step_losses
    assert trial.accuracy == mnistcnn.test(model, digits[1][:100], progress=False).accuracy == trial.result.accuracy
    assert trial.made_with["engine"] == "lanes"
    assert trial.model is None
    assert pickle.loads(pickle.dumps(trial)).to_dict() == trial.to_dict()


def test_fold_is_held_out_for_testing(digits: Any):
    trial = run_job(job(digits, test_set=digits[0][:200], fold=Fold(1, 4, 0)))
    rest, held_out = Fold(1, 4, 0).parts(digits[0][:200])
    assert (trial.result.labels == held_out.labels).all()
    assert len(rest) + trial.result.count == 200


def test_stopped_trial_ends_within_the_first_epoch(digits: Any):
    listener = Listener()
    listener.stopped = True
    with pytest.raises(StoppedError):
        run_job(job(digits, train_set=digits[0][:2000]), listener)
    assert listener.epochs == []  # the first epoch was not finished
