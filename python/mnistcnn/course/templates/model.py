"""Three steps of the assignment: fewer than 8,000 parameters, at most 15 epochs, and a test accuracy of at least 99.4 %
in each of the last three epochs.

In the docstring of a step, write the target before you train it, and the analysis afterwards: what the result shows,
and what the next step changes. `mnistcnn report` copies both to the README and fills in the result. The attribute
`recipe` of a class describes its training.
"""

from torch import nn
from torch.nn import functional as F

import mnistcnn


class Model_1(nn.Module):
    """Skeleton: convolutions, max pooling and global average pooling.

    Target:

    Analysis:
    """

    recipe = mnistcnn.Recipe(epochs=15, batch_size=64, optimizer=mnistcnn.optim.SGD(lr=0.02, momentum=0.9))

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.conv3 = nn.Conv2d(12, 16, 3, padding=1)
        self.conv4 = nn.Conv2d(16, 16, 3, padding=1)
        self.conv5 = nn.Conv2d(16, 10, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = F.max_pool2d(x, 2)
        return F.adaptive_avg_pool2d(self.conv5(x), 1).flatten(1)


def block(inputs, outputs):
    """Return a convolution with batch normalization and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Model_2(nn.Module):
    """Batch normalization, and more but narrower layers.

    Target:

    Analysis:
    """

    recipe = mnistcnn.Recipe(epochs=15, batch_size=64, optimizer=mnistcnn.optim.SGD(lr=0.02, momentum=0.9))

    def __init__(self):
        super().__init__()
        self.stage1 = nn.Sequential(block(1, 8), block(8, 8), block(8, 8), nn.MaxPool2d(2))
        self.stage2 = nn.Sequential(block(8, 12), block(12, 12), block(12, 12), nn.MaxPool2d(2))
        self.stage3 = nn.Sequential(block(12, 12), block(12, 12))
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Conv2d(12, 10, 1)

    def forward(self, x):
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.classes(self.gap(x)).flatten(1)


class Model_3(nn.Module):
    """Dropout, augmentation, the 1cycle policy, and an average of the weights.

    Target:

    Analysis:
    """

    recipe = mnistcnn.Recipe(
        epochs=15,
        batch_size=32,
        optimizer=mnistcnn.optim.SGD(lr=0.01, momentum=0.9),
        schedule=mnistcnn.optim.OneCycleLR(max_lr=0.05),
        augment=[
            mnistcnn.transforms.Affine(7, translate=(0.08, 0.08), scale=(0.92, 1.08), interpolation="bilinear", p=0.5)
        ],
        averaging=mnistcnn.optim.EMA(0.998),
    )

    def __init__(self):
        super().__init__()
        self.stage1 = nn.Sequential(block(1, 8), block(8, 8), block(8, 8), nn.MaxPool2d(2), nn.Dropout(0.02))
        self.stage2 = nn.Sequential(block(8, 12), block(12, 12), block(12, 12), nn.MaxPool2d(2), nn.Dropout(0.02))
        self.stage3 = nn.Sequential(block(12, 12), block(12, 12))
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Conv2d(12, 10, 1)

    def forward(self, x):
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.classes(self.gap(x)).flatten(1)
