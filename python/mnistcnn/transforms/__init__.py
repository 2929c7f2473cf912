"""Random transforms of training images (data augmentation), named as in ``torchvision.transforms``."""

from mnistcnn.transforms.preview import (
    augment,
    drawn,
)
from mnistcnn.transforms.steps import (
    Affine,
    CenterCrop,
    ColorJitter,
    Cutout,
    ElasticDistortion,
    GaussianNoise,
    MorphologicalThickness,
    Perspective,
    RandomApply,
    RandomCrop,
    RandomErasing,
    Resize,
    Rotation,
    Transform,
)

__all__ = [
    "Affine",
    "CenterCrop",
    "ColorJitter",
    "Cutout",
    "ElasticDistortion",
    "GaussianNoise",
    "MorphologicalThickness",
    "Perspective",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "Resize",
    "Rotation",
    "Transform",
    "augment",
    "drawn",
]
