"""Small networks in many coding styles. `from_torch` must convert each of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NETWORKS: dict[str, Callable[[], nn.Module]] = {}
INPUT_SHAPES: dict[str, tuple[int, ...]] = {}  # other than (1, 28, 28)


def network(make: Any) -> Any:
    NETWORKS[make.__name__] = make
    return make


def images_of(*shape: int) -> Any:
    def note(make: Any) -> Any:
        INPUT_SHAPES[make.__name__] = shape
        return network(make)

    return note


# ---- sequential networks


@network
def sequential_only() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(150, 10), nn.LogSoftmax(dim=1),
    )  # fmt: skip


@network
def named_sequential() -> nn.Module:
    return nn.Sequential(
        OrderedDict(conv1=nn.Conv2d(1, 4, 5), relu1=nn.ReLU(), pool=nn.AvgPool2d(2), flat=nn.Flatten(1, -1),
                    head=nn.Linear(576, 10))
    )  # fmt: skip


@network
class Official(nn.Module):
    """The current MNIST example of PyTorch."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1)
        self.conv2 = nn.Conv2d(4, 8, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(1152, 16), nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = torch.flatten(x, 1)
        x = self.dropout2(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


@network
class OldOfficial(nn.Module):
    """The MNIST example of 2017: functional dropout, view(-1, K), log_softmax without a dimension."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, kernel_size=5), nn.Conv2d(4, 6, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1, self.fc2 = nn.Linear(96, 20), nn.Linear(20, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 96)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.fc2(x))


@network
class Dropout2dOnFeatures(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.drop, self.fc2 = nn.Linear(784, 12), nn.Dropout2d(0.3), nn.Linear(12, 10)

    def forward(self, x):
        return self.fc2(self.drop(F.relu(self.fc1(x.flatten(1)))))


@network
class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2, stride=2), nn.Conv2d(6, 16, 5), nn.Tanh(),
            nn.AvgPool2d(kernel_size=2, stride=2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(400, 30), nn.Tanh(), nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 10), nn.Softmax(dim=1)
        )

    def forward(self, img):
        features = self.features(img)
        return self.classifier(features.view(img.shape[0], -1))


@images_of(1, 32, 32)
class LeNet32(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(1, 4, 5), nn.Conv2d(4, 6, 5), nn.Conv2d(6, 12, 5)
        self.f = nn.Linear(12, 10)

    def forward(self, x):
        x = torch.sigmoid(F.avg_pool2d(self.c1(x), 2))
        x = torch.sigmoid(F.avg_pool2d(self.c2(x), 2))
        return self.f(torch.tanh(self.c3(x)).squeeze())


@images_of(3, 16, 16)
class ColourImages(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.f = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4 * 7 * 7, 10)

    def forward(self, x):
        return self.f(self.c(x).relu().reshape(len(x), -1))


# ---- flattening and reading shapes


class _Ends(nn.Module):
    """A convolution, a pool, and operations of a subclass on the feature map [N, 4, 6, 6]."""

    outputs = 144

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 5, stride=2), nn.Linear(self.outputs, 10)

    def body(self, x):
        return F.relu(F.max_pool2d(self.conv(x), 2))

    def forward(self, x):
        return self.fc(self.flat(self.body(x)))

    def flat(self, x):
        raise NotImplementedError


@network
class ViewBySize(_Ends):
    def flat(self, x):
        return x.view(x.size(0), -1)


@network
class ViewByLen(_Ends):
    def flat(self, x):
        return x.view(len(x), -1)


@network
class ViewByShape(_Ends):
    def flat(self, x):
        batch, c, h, w = x.shape
        return x.view(batch, c * h * w)


@network
class ViewByNumbers(_Ends):
    def flat(self, x):
        return x.view(-1, 4 * 6 * 6)


@network
class NumFlatFeatures(_Ends):
    """From an old tutorial of PyTorch."""

    def flat(self, x):
        return x.view(-1, self.num_flat_features(x))

    def num_flat_features(self, x):
        features = 1
        for size in x.size()[1:]:
            features *= size
        return features


@network
class ReshapeTuple(_Ends):
    def flat(self, x):
        return torch.reshape(x, (x.shape[0], -1))


@network
class FlattenMethod(_Ends):
    def flat(self, x):
        return x.flatten(start_dim=1)


@network
class FlattenModuleMadeInForward(_Ends):
    def flat(self, x):
        return nn.Flatten()(x)


@network
class FlattenStepwise(_Ends):
    def flat(self, x):
        return x.flatten(2).flatten(1, 2)


@network
class ContiguousView(_Ends):
    def flat(self, x):
        return x.contiguous().view(x.data.size(0), -1)


@network
class AssertsOnShapes(_Ends):
    def flat(self, x):
        assert x.dim() == 4, "maps"
        if x.shape[2] != 6:
            raise ValueError("wrong size")
        return x.reshape(x.size()[0], x.numel() // x.size(0))


@network
class ChannelsLastFlatten(_Ends):
    def flat(self, x):
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)


@network
class Transposed(_Ends):
    def flat(self, x):
        return x.transpose(1, 3).contiguous().flatten(1)


@network
class SwapTwice(_Ends):
    def flat(self, x):
        return x.view(-1, 4, 36).transpose(1, 2).permute(0, 2, 1).flatten(1)


@network
class Printing(_Ends):
    def flat(self, x):
        print("shape", x.shape, x)
        return torch.flatten(x, start_dim=1)


@network
class GlobalMean(_Ends):
    outputs = 4

    def flat(self, x):
        return x.mean((2, 3))


@network
class MeanTwice(_Ends):
    outputs = 4

    def flat(self, x):
        return x.mean(-1).mean(-1)


@network
class MeanOfPositions(_Ends):
    outputs = 4

    def flat(self, x):
        return torch.mean(x.view(x.size(0), x.size(1), -1), dim=2)


@network
class MeanKept(_Ends):
    outputs = 4

    def flat(self, x):
        return x.mean([2, 3], keepdim=True).view(-1, 4)


@network
class SumOfRows(_Ends):
    outputs = 24

    def flat(self, x):
        return x.sum(dim=2).flatten(1)


@network
class MaxOfColumns(_Ends):
    outputs = 24

    def flat(self, x):
        values, _ = x.max(dim=3)
        return values.flatten(1)


@network
class ChannelMean(_Ends):
    outputs = 36

    def flat(self, x):
        return x.mean(dim=1).view(-1, 36)


@network
class AdaptiveSqueeze(_Ends):
    outputs = 4

    def flat(self, x):
        return F.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1)


@network
class AdaptiveMax(_Ends):
    outputs = 16

    def flat(self, x):
        return F.adaptive_max_pool2d(x, 2).view(-1, 16)


@network
class GlobalMaxPool(_Ends):
    outputs = 4

    def flat(self, x):
        return F.max_pool2d(x, kernel_size=x.size()[2:]).squeeze()


@network
class AdaptiveUneven(_Ends):
    outputs = 64

    def flat(self, x):
        return nn.AdaptiveAvgPool2d((4, None))(x)[:, :, :, 1:5].flatten(1)


@network
class SlicesAndHalves(_Ends):
    outputs = 84

    def flat(self, x):
        first, second = x.chunk(2, dim=1)
        a, b = torch.split(second, 1, 1)
        return torch.cat([first[:, 0, ::2].flatten(1), a[..., 1:5].flatten(1), b[:, 0, 3:].flatten(1),
                          x.select(1, 2).narrow(2, 0, 4).flatten(1)], dim=1)  # fmt: skip


@network
class Stacked(_Ends):
    outputs = 72

    def flat(self, x):
        return torch.stack([x[:, 0], x[:, 3]], dim=1).flatten(1)


@network
class UnbindColumns(_Ends):
    outputs = 48

    def flat(self, x):
        columns = x.unbind(3)
        return torch.cat([columns[0], columns[5]], -1).flatten(1)


# ---- activations


class _Activated(_Ends):
    def flat(self, x):
        return self.act(self.conv2(x)).flatten(1)

    def __init__(self):
        super().__init__()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

    def act(self, x):
        raise NotImplementedError


def _activated(name: str, act: Any) -> None:
    made = type(name, (_Activated,), {"act": lambda self, x: act(x)})
    NETWORKS[name] = made


_activated("ReluByTwo", lambda x: F.relu(x, 2))
_activated("ReluInPlace", lambda x: F.relu_(x))
_activated("ReluMethod", lambda x: x.relu())
_activated("ReluMethodInPlace", lambda x: x.relu_())
_activated("ReluTorch", torch.relu)
_activated("ReluByClamp", lambda x: x.clamp(min=0))
_activated("ReluKeyword", lambda x: F.relu(input=x, inplace=True))
_activated("LeakyFunction", lambda x: F.leaky_relu(x, 0.2, True))
_activated("SigmoidOld", lambda x: F.sigmoid(x))
_activated("TanhMethod", lambda x: x.tanh())
_activated("GeluTanh", lambda x: F.gelu(x, approximate="tanh"))
_activated("GeluExact", F.gelu)
_activated("EluFunction", lambda x: F.elu(x, alpha=0.7))
_activated("SeluFunction", F.selu)
_activated("CeluFunction", lambda x: F.celu(x, 1.5))
_activated("SwishByHand", lambda x: x * torch.sigmoid(x))
_activated("SiluFunction", lambda x: F.silu(x, inplace=True))
_activated("HardswishFunction", F.hardswish)
_activated("HardsigmoidFunction", F.hardsigmoid)
_activated("MishFunction", lambda x: F.mish(x, inplace=True))
_activated("SoftplusFunction", lambda x: F.softplus(x, beta=2, threshold=10))
_activated("HardtanhFunction", lambda x: F.hardtanh(x, -2.0, 1.5))
_activated("ClampBoth", lambda x: torch.clamp(x, -0.5, 0.25))
_activated("ClampAbove", lambda x: x.clamp(max=0.3))
_activated("Relu6Function", F.relu6)
_activated("SquareActivation", lambda x: x**2)
_activated("SquareFunction", torch.square)
_activated("Arithmetic", lambda x: (1 - x / 2 + 0.5 * x - 3) * -1 + (-x))
_activated("AddAlpha", lambda x: torch.add(x, x.tanh(), alpha=0.5))
_activated("PaddedByHand", lambda x: F.pad(x, (1, 2, 0, 1))[:, :, :6, 1:7])
_activated("PaddedChannels", lambda x: F.pad(x, (0, 0, 0, 0, 1, 1))[:, 1:5])
_activated("Reflected", lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1))
_activated("SoftmaxOfChannels", lambda x: F.softmax(x, dim=1))
_activated("SoftmaxOfColumns", lambda x: x.softmax(-1))
_activated("Maxima", lambda x: F.max_pool2d(x, 3, stride=1, padding=1))


@network
class ActivationModules(_Ends):
    def __init__(self):
        super().__init__()
        self.acts = nn.ModuleList([nn.PReLU(), nn.PReLU(4), nn.SELU(), nn.CELU(0.5), nn.Hardtanh(-1, 2), nn.ELU(),
                                   nn.Hardsigmoid(), nn.Mish(), nn.Softplus(3), nn.ReLU6(), nn.GELU(), nn.SiLU(),
                                   nn.LeakyReLU(0.3)])  # fmt: skip

    def flat(self, x):
        for act in self.acts:
            x = act(x)
        return x.flatten(1)


# ---- layers and their options


@network
class Paddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(1, 3, 4, padding="same")
        self.replicate = nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate")
        self.reflect = nn.Conv2d(3, 3, (3, 5), padding=(1, 2), padding_mode="reflect", bias=False)
        self.circular = nn.Conv2d(3, 3, 3, padding="same", padding_mode="circular", dilation=2)
        self.zeros = nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(3, 2, 3, stride=3))
        self.out = nn.Linear(2 * 9 * 9 + 2 * 0, 10)

    def forward(self, x):
        x = self.circular(self.reflect(self.replicate(self.same(x))))
        return self.out(F.relu(self.zeros(x))[:, :, :9, :9].flatten(1))


@network
class OddPools(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 2, bias=False)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.pool2 = nn.AvgPool2d((2, 3), stride=(2, 1), ceil_mode=True, count_include_pad=False)
        self.pool3 = nn.MaxPool2d(2, stride=1, dilation=2)
        self.out = nn.LazyLinear(10)

    def forward(self, x):
        return self.out(self.pool3(self.pool2(self.pool1(self.conv(x)))).flatten(1))


@network
class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=3)
        self.layer = nn.LayerNorm([4, 9, 9])
        self.rows = nn.LayerNorm(9, elementwise_affine=False)
        self.group = nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.batch = nn.BatchNorm2d(4, eps=1e-3, momentum=None)
        self.untracked = nn.BatchNorm2d(4, track_running_stats=False, affine=False)
        self.flat = nn.BatchNorm1d(324, momentum=0.3)
        self.out = nn.Linear(324, 10)

    def forward(self, x):
        x = self.group(self.rows(self.layer(self.conv(x))))
        x = self.untracked(self.batch(self.instance(x)))
        return self.out(self.flat(x.flatten(1)))


@network
class DepthwiseSeparable(nn.Module):
    def __init__(self):
        super().__init__()

        def block(i, o, stride):
            return nn.Sequential(
                nn.Conv2d(i, i, 3, stride, 1, groups=i, bias=False), nn.BatchNorm2d(i), nn.ReLU6(inplace=True),
                nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU6(inplace=True),
            )  # fmt: skip

        self.net = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), block(4, 6, 1), block(6, 8, 2), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Sequential(nn.Dropout(p=0.2), nn.Linear(8, 10))

    def forward(self, x):
        return self.head(self.net(x).flatten(1))


@network
class RowsAsSequence(nn.Module):
    """1-D convolutions and norms."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(28, 6, 3, padding=1, dilation=1, stride=2)
        self.norm, self.pool = nn.BatchNorm1d(6), nn.MaxPool1d(2)
        self.out = nn.Linear(42, 10)

    def forward(self, x):
        return self.out(F.avg_pool1d(self.pool(F.relu(self.norm(self.conv(x.squeeze(1))))), 1).flatten(1))


@network
class LinearOfRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.out = nn.Linear(28, 5), nn.Linear(140, 10, bias=False)

    def forward(self, x):
        return self.out(torch.tanh(self.rows(x)).flatten(1))


# ---- flat inputs and outputs


@network
class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2, self.l3 = nn.Linear(784, 20), nn.Linear(20, 15), nn.Linear(15, 10)

    def forward(self, x):
        x = x.view(-1, 784)
        x = F.relu(self.l1(x))
        x = F.relu(self.l2(x))
        return self.l3(x)


@network
class TakesFlatImages(nn.Module):
    """The training loop, not the forward, flattens the images."""

    def __init__(self, hidden=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(28 * 28, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 10)
        )

    def forward(self, x):
        return self.layers(x)


@network
class LogOfSoftmax(nn.Module):
    """Log-probabilities in two steps, and absolute values."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 7, 3), nn.Linear(128, 10)

    def forward(self, x):
        x = torch.abs(self.conv(x)).flatten(1)
        return F.softmax(self.fc(x), dim=1).log()


@network
class UnflattensInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.unflatten, self.conv = nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 3, 5, 3)
        self.fc = nn.Linear(192, 10)

    def forward(self, x):
        return self.fc(F.relu(self.conv(self.unflatten(x.view(x.shape[0], -1)))).view(-1, 192))


@network
class BackToMaps(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.conv, self.fc2 = nn.Linear(784, 36), nn.Conv2d(4, 5, 2), nn.Linear(20, 10)

    def forward(self, x):
        x = self.fc1(x.reshape(-1, 784)).view(-1, 4, 3, 3)
        return self.fc2(self.conv(x).flatten(1))


@network
class AddsChannel(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 7, 3), nn.Linear(128, 10)

    def forward(self, x):
        return self.fc(self.conv(x.unsqueeze(1)).flatten(1))


@network
class NormalizesItself(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.1307))
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        x = (x.to(x.device, x.dtype) - self.mean) / 0.3081
        return F.log_softmax(self.fc(torch.flatten(x, 1)), dim=-1)


@network
class ConvolutionAsHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 5, 3), nn.Conv2d(4, 10, 8)

    def forward(self, x):
        return F.log_softmax(self.b(F.relu(self.a(x))).view(-1, 10), 1)


@network
class EndsWithRelu(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.gap = nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return F.relu(self.gap(self.a(x)).squeeze())


# ---- blocks, lists of modules, branches


class _Block(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


@network
class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, 2, 1)
        self.layers = nn.Sequential(_Block(4, 4), _Block(4, 6, 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward_impl(x)

    def _forward_impl(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.avgpool(self.layers(self.stem(x))), 1))


@network
class ShortcutOfZeros(nn.Module):
    """A residual block that widens by channels of zeros."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.fc = nn.Conv2d(1, 4, 3, 2), nn.Conv2d(4, 8, 3, 2, 1), nn.Linear(8, 10)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2), "constant", 0))
        return self.fc(F.avg_pool2d(x, x.size(3)).view(x.size(0), -1))


@network
class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.b1 = nn.Conv2d(1, 3, 1)
        self.b2 = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1))
        self.pool = nn.Conv2d(1, 2, 1)
        self.fc = nn.Linear(8 * 49, 10)

    def forward(self, x):
        x = F.avg_pool2d(x, 4)
        outs = [self.b1(x), self.b2(x), self.pool(F.max_pool2d(x, 3, 1, 1))]
        return self.fc(torch.cat(outs, 1).view(-1, 8 * 49))


@network
class DenseList(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(1 + 2 * i, 2, 3, padding=1) for i in range(3))
        self.acts = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()})
        self.fc = nn.Linear(7, 10)

    def forward(self, x):
        x = F.max_pool2d(x, 4)
        for i, conv in enumerate(self.convs):
            x = torch.cat((x, self.acts["ab"[i % 2]](conv(x))), dim=1)
        return self.fc(x.mean(dim=[-2, -1]))


@network
class SqueezeExcitation(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(1, 6, 5, 3), nn.Linear(6, 3), nn.Linear(3, 6)
        self.out = nn.Linear(6 * 64, 10)

    def forward(self, x):
        x = F.relu(self.conv(x))
        b, c, _, _ = x.size()
        s = F.adaptive_avg_pool2d(x, 1).view(b, c)
        s = torch.sigmoid(self.up(F.relu(self.down(s)))).view(b, c, 1, 1)
        return self.out((x * s).flatten(1))


@network
class ConvolutionalSqueezeExcitation(nn.Module):
    """Squeeze-and-excitation with convolutions, as in mobile networks."""

    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(1, 6, 5, 3), nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.pool, self.gate, self.out = nn.AdaptiveAvgPool2d(1), nn.Hardsigmoid(), nn.Linear(6 * 64, 10)

    def forward(self, x):
        x = F.mish(self.conv(x))
        x = x * self.gate(self.up(F.silu(self.down(self.pool(x))))).expand_as(x)
        return self.out(x.flatten(1))


@network
class Maxout(nn.Module):
    """The maximum of two linear layers, global max and mean pooling, and a detached gradient."""

    def __init__(self):
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(1, 6, 5, 3), nn.Linear(12, 10), nn.Linear(12, 10)

    def forward(self, x):
        x = F.relu(self.conv(x))
        x = torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)
        x = x / (1 + x.detach().mean(1, keepdim=True).abs())
        return torch.maximum(self.a(x), self.b(x)) + torch.stack([x[:, :10], x[:, 2:]]).mean(0)


@network
class SpatialAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.gate, self.out = nn.Conv2d(1, 4, 5, 3), nn.Conv2d(2, 1, 3, padding=1), nn.Linear(256, 10)

    def forward(self, x):
        x = torch.tanh(self.conv(x))
        mean, (most, _) = torch.mean(x, dim=1, keepdim=True), torch.max(x, dim=1, keepdim=True)
        return self.out((torch.sigmoid(self.gate(torch.cat([mean, most], dim=1))) * x).flatten(1))


@network
class ChannelShuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(1, 6, 5, 3), nn.Conv2d(6, 6, 3, groups=3), nn.Linear(216, 10)

    def forward(self, x):
        x = self.a(x)
        n, c, h, w = x.size()
        x = x.view(n, 3, c // 3, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
        return self.fc(self.b(x).flatten(1))


@network
class OneActivationManyTimes(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.pool, self.drop = nn.ReLU(True), nn.MaxPool2d(2), nn.Dropout(0.1)
        self.c1, self.c2, self.fc = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Linear(100, 10)

    def forward(self, x):
        x = self.drop(self.pool(self.act(self.c1(x))))
        x = self.drop(self.pool(self.act(self.c2(x))))
        return self.fc(self.act(self.drop(x.flatten(1))))


@network
class UnusedMembers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first_unused = nn.Linear(3, 2)
        self.fc = nn.Linear(784, 10)
        self.bn_unused = nn.BatchNorm2d(5)
        self.scale_unused = nn.Parameter(torch.ones(2))
        self.loss = nn.CrossEntropyLoss()
        self.history = []

    def forward(self, x):
        unused = torch.matmul(x, x)  # noqa: F841 - unsupported, but unused
        return self.fc(x.flatten(1))


@network
class OwnParameters(nn.Module):
    """Parameters of the module itself, passed to functional operations."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 1, 5, 5) * 0.1)
        self.shift = nn.Parameter(torch.zeros(3))
        self.weight = nn.Parameter(torch.randn(10, 192) * 0.1)

    def forward(self, x):
        return F.linear(F.conv2d(x, self.kernel, self.shift, stride=3).relu().flatten(1), self.weight)


@network
class HelperFunctions(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.f = nn.Conv2d(1, 2, 3), nn.Linear(338, 10)

    def convolve(self, x):
        return F.max_pool2d(torch.relu(self.c.forward(x)), (2, 2))

    def forward(self, *inputs):
        (x,) = inputs
        self.seen = x.detach()
        return self.f(self.convolve(x).view(x.shape[0], -1))


@network
class Subclassed(nn.Linear):
    """A subclass of a layer that overrides forward."""

    def __init__(self):
        super().__init__(784, 10)

    def forward(self, x):
        return super().forward(x.flatten(1))


@network
class AlwaysDropsNothing(nn.Module):
    """Dropout that is disabled explicitly."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        return F.dropout(self.fc(x.flatten(1)), 0.5, False)


@network
class IdentitiesEverywhere(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.fc, self.b = nn.Identity(), nn.Linear(784, 10), nn.Identity(5)

    def forward(self, x):
        return self.b(self.fc(self.a(x).clone().view(x.size(0), -1)))


@network
class GroupsOfLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        )
        self.fc = nn.Linear(4 * 24 * 24, 10)

    def forward(self, x):
        for part in self.conv:
            x = part(x)
        return self.fc(x.view(x.shape[0], self.fc.in_features))


# Networks whose operations every exporter supports.
EXPORTABLE = (
    *("SqueezeExcitation", "ResNet", "Paddings", "OddPools", "ChannelShuffle", "RowsAsSequence", "Inception"),
    *("ConvolutionalSqueezeExcitation", "Maxout", "SoftplusFunction"),
)
