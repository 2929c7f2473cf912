"""`CNNClassifier`: a scikit-learn estimator for pipelines, cross_val_score, GridSearchCV and ensembles.

Needs scikit-learn: ``pip install "scikit-learn>=1.6"``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mnistcnn._internal.checks import image_shape
from mnistcnn._internal.packages import missing_package
from mnistcnn.data.image_set import ImageSet, check_channels_first
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
from mnistcnn.training.recipes import Recipe, recipe_with
from mnistcnn.training.trainer import train

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError:
    raise missing_package("mnistcnn.sklearn", "scikit-learn>=1.6") from None

if TYPE_CHECKING:
    from sklearn.utils import Tags

_MIN_SIDE = 8  # minimum side of a flat square image
_MIN_STEPS, _MIN_BATCH, _MAX_BATCH = 25, 8, 128  # default batch size: at least 25 steps per epoch if possible


class CNNClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Convolutional network as a scikit-learn classifier.

    ``X`` contains images [n, height, width] or [n, channels, height, width], or flat samples [n, features]. ``y``
    contains class labels, numbers or strings. Flat samples are treated as images if ``image_shape`` is given, or if
    their length is the square of an integer of at least 8, such as 784. Other flat samples get a small fully connected
    network instead of a convolutional one.

    Pixels have 8 bits. uint8 data is used unchanged. Other data is scaled so that the minimum and maximum of the
    training data become 0 and 255; values outside of this range are clipped in predictions. Samples that are not images
    are scaled per feature.

    Parameters
    ----------
    model
        "auto", the name of a published network, or a `mnistcnn.Model` as a template, whose weights are not used unless
        they are frozen. "auto" selects ``session7_net`` for 28x28 images and a smaller network for other sizes.
    recipe
        Training recipe. Default: None, which trains 15 epochs with ``SGD(lr=0.01, momentum=0.9)`` and batches of 128,
        or smaller batches (at least 8) if an epoch would have fewer than 25 steps.
    epochs
        Number of passes over the training data. Overrides the recipe. Default: None, the value of the recipe.
    batch_size
        Images per step. Overrides the recipe. Default: None, the value of the recipe.
    optimizer
        Optimizer, such as ``mnistcnn.optim.SGD(lr=0.1)``. Overrides the recipe. Default: None, the value of the recipe.
    image_shape
        (channels, height, width) of flat samples. Default: None, which treats them as described above.
    engine
        "lanes", "aten" or "auto". Default: None, which uses the engine of the model.
    threads
        Number of threads. Default: None, one per physical core.
    random_state
        Seed of weights, data order and augmentation, or a ``numpy.random.RandomState`` from which the seed is drawn.
        Default: None, which draws the seed from NumPy's global random state.
    progress
        Show a progress bar in terminals and notebooks.

    Attributes
    ----------
    classes_
        Sorted class labels, in the order of the columns of `predict_proba`.
    model_
        Trained `mnistcnn.Model`.
    history_
        `mnistcnn.History` of the training.
    image_shape_
        Input shape of the network: (channels, height, width).
    n_iter_
        Number of epochs trained.
    n_features_in_
        Length of the second axis of ``X`` in `fit`. `predict` requires samples of the same form.

    Examples
    --------
    >>> import mnistcnn
    >>> from mnistcnn.sklearn import CNNClassifier
    >>> data = mnistcnn.load("digits")[0][:400]
    >>> X = data.images.reshape(400, 784)
    >>> classifier = CNNClassifier(epochs=1, random_state=0).fit(X, data.labels)
    >>> classifier.predict_proba(X[:3]).shape
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

    # ---- interface of scikit-learn

    def fit(self, X: Any, y: Any) -> CNNClassifier:  # noqa: N803
        """Train on images or flat samples ``X`` and their class labels ``y``; return the classifier."""
        numbers, y = validate_data(self, X, y, dtype="numeric", allow_nd=True, ensure_min_samples=2)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must have at least two classes, got one: '{self.classes_[0]}'")
        if numbers.ndim == 4 and self.image_shape is None:
            check_channels_first(numbers.shape)
        self._sample_shape = numbers.shape[1:]
        self.image_shape_, self._is_image = self._input_shape(numbers.shape[1:])
        self._fit_scale(numbers)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        images = ImageSet(
            self._pixels(numbers), labels.astype(np.int64), tuple(map(str, self.classes_)), name="scikit-learn"
        )
        self.model_ = self._new_model(seed)
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
        """Return the class probabilities, f64 [n, classes], in the order of ``classes_``."""
        check_is_fitted(self)
        numbers = validate_data(self, X, dtype="numeric", allow_nd=True, reset=False)
        if math.prod(numbers.shape[1:]) != math.prod(self._sample_shape):
            raise ValueError(f"X must have samples of shape {self._sample_shape} as in fit, got {numbers.shape[1:]}")
        probabilities = predict(self.model_, self._pixels(numbers), engine=self.engine, threads=self.threads)
        wide = probabilities[:, : len(self.classes_)].astype(np.float64)  # a given model may have more outputs
        sums = wide.sum(axis=1, keepdims=True)  # 0 if all of the probability is that of other outputs
        return np.asarray(np.divide(wide, sums, out=np.full_like(wide, 1 / wide.shape[1]), where=sums > 0))

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the most probable class of each sample, [n]."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = False
        return tags

    # ---- conversion of X to pixels

    def _input_shape(self, sample: tuple[int, ...]) -> tuple[tuple[int, int, int], bool]:
        """Return (channels, height, width) for the shape of a sample, and whether samples are images."""
        if self.image_shape is not None:
            channels, height, width = image_shape("image_shape", self.image_shape)
            if channels * height * width != math.prod(sample):
                raise ValueError(f"image_shape={self.image_shape} does not match samples of shape {sample}")
            return (channels, height, width), True
        if len(sample) == 3:
            return (sample[0], sample[1], sample[2]), True
        if len(sample) == 2:
            return (1, sample[0], sample[1]), True
        if len(sample) != 1:
            raise ValueError(f"X must be [n, features], [n, H, W] or [n, C, H, W], got samples of shape {sample}")
        side = math.isqrt(sample[0])
        if side >= _MIN_SIDE and side * side == sample[0]:
            return (1, side, side), True
        return (1, 1, sample[0]), False

    def _fit_scale(self, numbers: npt.NDArray[Any]) -> None:
        if numbers.dtype == np.uint8:
            self._low, self._high = np.array(0.0), np.array(255.0)
            return
        axis = None if self._is_image else 0
        self._low = np.asarray(np.min(numbers, axis=axis), np.float64)
        self._high = np.asarray(np.max(numbers, axis=axis), np.float64)

    def _pixels(self, numbers: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the samples as u8 [n, C, H, W]."""
        shape = (len(numbers), *self.image_shape_)
        if numbers.dtype == np.uint8 and not self._low.any() and (self._high == 255).all():
            return np.ascontiguousarray(numbers).reshape(shape)
        # Divide by 2 first: the difference of the largest floats would overflow.
        half = np.where(self._high > self._low, self._high / 2 - self._low / 2, 1)
        fraction = np.clip((numbers.astype(np.float64) / 2 - self._low / 2) / half, 0, 1)
        return np.rint(255 * fraction).astype(np.uint8).reshape(shape)

    # ---- model and recipe

    def _new_model(self, seed: int) -> Model:
        classes = len(self.classes_)
        if isinstance(self.model, Model):
            model = Template.of(self.model).model(seed)
            if model.num_classes < classes:
                raise ValueError(f"y has {classes} classes, but the model has only {model.num_classes}")
        elif not isinstance(self.model, str):
            hint = "; convert it with mnistcnn.from_torch" if hasattr(self.model, "forward") else ""
            raise TypeError(
                "model must be 'auto', the name of a published network or an mnistcnn.Model, got "
                f"{type(self.model).__name__}{hint}"
            )
        elif self.model != "auto":
            model = create_model(self.model, classes, self.image_shape_[0], seed=seed)
        elif self.image_shape_[1:] == (28, 28):
            model = create_model("session7_net", classes, self.image_shape_[0], seed=seed)
            model.normalization = None  # computed from the training set
        else:
            model = Model(self._small_layers(classes), self.image_shape_, seed=seed, name="small")
        if model.input_shape != self.image_shape_:
            raise ValueError(f"X has images {self.image_shape_}, but model '{model.name}' requires {model.input_shape}")
        return model

    def _small_layers(self, classes: int) -> Layers:
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
        batch_size = max(_MIN_BATCH, min(_MAX_BATCH, count // _MIN_STEPS))
        recipe = Recipe(batch_size=batch_size) if self.recipe is None else self.recipe
        given = {"epochs": self.epochs, "batch_size": self.batch_size, "optimizer": self.optimizer}
        return recipe_with(recipe, {name: value for name, value in given.items() if value is not None})
