"""A scikit-learn classifier: cross_val_score, GridSearchCV, voting and pipelines work on it.

Needs scikit-learn: ``pip install "mnistcnn[sklearn]"``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mnistcnn.data.image_set import ImageSet
from mnistcnn.evaluation.evaluate import predict
from mnistcnn.nn.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layers,
    Linear,
    LogSoftmax,
    MaxPool2d,
    ReLU,
)
from mnistcnn.nn.model import Model
from mnistcnn.nn.zoo import create_model
from mnistcnn.study.job import Template
from mnistcnn.training.recipes import Recipe
from mnistcnn.training.trainer import train

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError:
    raise ImportError('mnistcnn.sklearn needs scikit-learn 1.6 or newer: pip install "mnistcnn[sklearn]"') from None

if TYPE_CHECKING:
    from sklearn.utils import Tags

_LEAST_SIDE = 8  # smaller squares are no images
_STEPS, _LEAST_BATCH, _LARGEST_BATCH = 25, 8, 128


class CNNClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A convolutional network as a scikit-learn classifier.

    ``X`` are images, [n, height, width], [n, channels, height, width] or flat rows [n, features]; ``y`` are classes,
    numbers or words. Flat rows are images if ``image_shape`` says so, or if their length is a square of at least 8 x 8,
    such as 784. Other rows are no images, and convolutions have nothing to see in them: they get a small fully
    connected network instead, and each feature its own scale.

    Pixels have 8 bits, as everywhere in this package. uint8 is taken as it is; of other numbers, the smallest and the
    largest in the training data become 0 and 255, and what lies outside later is clipped.

    Parameters
    ----------
    model
        "auto": ``session7_net`` for 28 x 28, a smaller network for other images. Or a published network's name, or an
        `mnistcnn.Model` as a template, whose own weights are not used.
    recipe
        How to train: an `mnistcnn.Recipe`. The next three change single fields of it.
    epochs, optimizer, batch_size
        None: the recipe's. Without a recipe 15 epochs of ``SGD(lr=0.01, momentum=0.9)``, in batches of 128, or smaller
        ones (down to 8) where an epoch would have fewer than 25 steps.
    image_shape
        (channels, height, width) of flat rows.
    engine, threads
        As in `mnistcnn.train`.
    random_state
        A number makes everything repeatable.
    progress
        Whether to show a bar.

    Attributes
    ----------
    classes_
        The classes, sorted; columns of `predict_proba`.
    model_, history_
        The trained `mnistcnn.Model` and its `History`.
    image_shape_
        (channels, height, width) that the network sees.
    n_iter_
        The epochs that were trained.
    n_features_in_
        The length of X's second axis, as scikit-learn counts. Predictions take X in the form of the training.

    Examples
    --------
    >>> import mnistcnn
    >>> from mnistcnn.sklearn import CNNClassifier
    >>> data = mnistcnn.load("digits")[0][:400]
    >>> rows = data.images.reshape(400, 784)
    >>> classifier = CNNClassifier(epochs=1, random_state=0).fit(rows, data.labels)
    >>> classifier.predict_proba(rows[:3]).shape
    (3, 10)
    """

    def __init__(
        self,
        model: str | Model = "auto",
        *,
        recipe: Recipe | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        optimizer: Any = None,
        image_shape: tuple[int, int, int] | None = None,
        engine: str | None = None,
        threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        progress: bool = False,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.image_shape = image_shape
        self.engine = engine
        self.threads = threads
        self.random_state = random_state
        self.progress = progress

    # ---- what scikit-learn asks for

    def fit(self, X: Any, y: Any) -> CNNClassifier:  # noqa: N803
        """Trains on rows or images and their classes."""
        numbers, y = validate_data(self, X, y, dtype="numeric", allow_nd=True, ensure_min_samples=2)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class only, '{self.classes_[0]}'; at least two are needed")
        self._row_shape = numbers.shape[1:]
        self.image_shape_, self._is_image = self._fitting_shape(numbers.shape[1:])
        self._learn_scale(numbers)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        images = ImageSet(
            self._pixels(numbers), labels.astype(np.int64), tuple(map(str, self.classes_)), name="scikit-learn"
        )
        self.model_ = self._fresh_model(seed)
        self.history_ = train(
            self.model_,
            images,
            self._chosen_recipe(len(images)).replace(seed=seed),
            engine=self.engine,
            threads=self.threads,
            progress=self.progress,
        )
        self.n_iter_ = len(self.history_)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """The probability of every class, [n, classes]."""
        check_is_fitted(self)
        numbers = validate_data(self, X, dtype="numeric", allow_nd=True, reset=False)
        if math.prod(numbers.shape[1:]) != math.prod(self._row_shape):
            raise ValueError(f"X has rows of shape {numbers.shape[1:]}, but was trained on {self._row_shape}")
        probabilities = predict(self.model_, self._pixels(numbers), engine=self.engine, threads=self.threads)
        wide = probabilities.astype(np.float64)
        return np.asarray(wide / wide.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """The most probable class, [n]."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = False
        return tags

    # ---- from numbers to pixels

    def _fitting_shape(self, row: tuple[int, ...]) -> tuple[tuple[int, int, int], bool]:
        """The images' shape, and whether they are images at all."""
        if self.image_shape is not None:
            channels, height, width = (int(each) for each in self.image_shape)
            if channels * height * width != math.prod(row):
                raise ValueError(f"image_shape={self.image_shape} does not fit rows of shape {row}")
            return (channels, height, width), True
        if len(row) == 3:
            return (row[0], row[1], row[2]), True
        if len(row) == 2:
            return (1, row[0], row[1]), True
        if len(row) != 1:
            raise ValueError(f"X must be rows or images, [n, features] up to [n, C, H, W], got rows of shape {row}")
        side = math.isqrt(row[0])
        if side >= _LEAST_SIDE and side * side == row[0]:
            return (1, side, side), True
        return (1, 1, row[0]), False

    def _learn_scale(self, numbers: npt.NDArray[Any]) -> None:
        if numbers.dtype == np.uint8:
            self._low, self._high = np.array(0.0), np.array(255.0)
            return
        axis = None if self._is_image else 0
        self._low = np.asarray(np.min(numbers, axis=axis), np.float64)
        self._high = np.asarray(np.max(numbers, axis=axis), np.float64)

    def _pixels(self, numbers: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Uint8 [n, C, H, W]."""
        shape = (len(numbers), *self.image_shape_)
        if numbers.dtype == np.uint8 and not self._low.any() and (self._high == 255).all():
            return np.ascontiguousarray(numbers).reshape(shape)
        # Halves of the difference, so that the largest floats don't overflow.
        half = np.where(self._high > self._low, self._high / 2 - self._low / 2, 1)
        part = np.clip((numbers.astype(np.float64) / 2 - self._low / 2) / half, 0, 1)
        return np.rint(255 * part).astype(np.uint8).reshape(shape)

    # ---- from parameters to a run

    def _fresh_model(self, seed: int) -> Model:
        classes = len(self.classes_)
        if isinstance(self.model, Model):
            model = Template.of(self.model).model(seed)
            if model.num_classes < classes:
                raise ValueError(f"y has {classes} classes, but the model tells only {model.num_classes} apart")
        elif self.model != "auto":
            model = create_model(self.model, classes, self.image_shape_[0], seed=seed)
        elif self.image_shape_[1:] == (28, 28):
            model = create_model("session7_net", classes, self.image_shape_[0], seed=seed)
            model.normalization = None  # the training set's own
        else:
            model = Model(self._fitting_layers(classes), self.image_shape_, seed=seed, name="small")
        if model.input_shape != self.image_shape_:
            raise ValueError(f"X has images {self.image_shape_}, but model '{model.name}' takes {model.input_shape}")
        return model

    def _fitting_layers(self, classes: int) -> Layers:
        if not self._is_image:
            return [Flatten(), Linear(64), ReLU(), Linear(classes), LogSoftmax()]
        block = [Conv2d(16, 3, padding=1, bias=False), BatchNorm2d(), ReLU()]
        pool = [MaxPool2d(2)] if min(self.image_shape_[1:]) >= 4 else []
        return [
            *block,
            *pool,
            Conv2d(32, 3, padding=1, bias=False),
            *(BatchNorm2d(), ReLU(), AdaptiveAvgPool2d(2), Flatten(), Linear(classes), LogSoftmax()),
        ]

    def _chosen_recipe(self, count: int) -> Recipe:
        small = max(_LEAST_BATCH, min(_LARGEST_BATCH, count // _STEPS))
        recipe = Recipe(batch_size=small) if self.recipe is None else self.recipe
        named = {"epochs": self.epochs, "batch_size": self.batch_size, "optimizer": self.optimizer}
        return recipe.replace(**{name: value for name, value in named.items() if value is not None})
