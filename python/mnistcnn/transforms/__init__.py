"""Random transforms of training images (data augmentation), named as in ``torchvision.transforms``."""

from typing import Any

from mnistcnn._internal.lazy import missing
from mnistcnn.transforms.preview import augment, sample_parameters
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
    "sample_parameters",
]

# Names in torchvision.transforms -> the equivalent call here
_INSTEAD = {
    "RandomAffine": "Affine(degrees=...)",
    "RandomPerspective": "Perspective()",
    "RandomRotation": "Rotation(degrees=...)",
}
_NOT_NEEDED = {
    "Compose": "pass a list of transforms: augment=[...]",
    "Normalize": "leave it out: the model normalizes the pixels, as its attribute `normalization` states",
    "ToTensor": "leave it out: the model converts the pixels",
}


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _INSTEAD.get(name, ""), advice=_NOT_NEEDED.get(name, ""))
