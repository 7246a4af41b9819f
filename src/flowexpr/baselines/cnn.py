"""The paper's convolutional network behind the flow's interface, trained with the flow's own machinery."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from torch import Tensor

from flowexpr.arithmetic import own_arithmetic
from flowexpr.baselines.residual_network import ResidualNetwork, draw_weights
from flowexpr.calibration import fit_temperature
from flowexpr.decisions import LogitClassifierMixin
from flowexpr.fitted import network_of, rows_of
from flowexpr.fitting import class_weights, fit_to_calibrate, history_of, plan_of, unchanged_if_refused
from flowexpr.inputs import FitInput, find_input_range, read_fit_input
from flowexpr.labels import split_labels
from flowexpr.parameters import check_parameters, resolve_batch_size, resolve_device, resolve_loss
from flowexpr.persistence import SaveMixin
from flowexpr.signals import ImageSignal
from flowexpr.training.loop import Trainer
from flowexpr.training.objective import ClassObjective
from flowexpr.validation_split import hold_out

__all__ = ["CNNExpressionClassifier"]

N_BITS = 8
"""Bits of a pixel that the network sees: all of them."""

PREDICTED_AT_ONCE = 256
"""Images in a batch of prediction."""


class CNNExpressionClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, LogitClassifierMixin, SaveMixin, BaseEstimator
):
    """The CNN that the paper compares its flow with, trained well: the flow's augmentation, schedule and averaging.

    Four residual stacks, each a pair of Conv-BatchNorm-ReLU, and two dense layers [1]_.

    Parameters
    ----------
    image_shape : tuple, default=None
        (H, W) or (H, W, C) of images that come as flat rows.
    hidden_channels : int, default=32
        Channels of the first stack; each of the other three has twice as many as the one before.
    n_features : int, default=128
        Length of the deep features between the two dense layers.
    class_weight : dict or "balanced", default=None
        Weight of every class in the cross-entropy.
    augment : bool or callable, default=True
        As in `FlowExpressionClassifier`.
    label_smoothing : float or "auto", default=0.1
        Share of the target spread over all classes; "auto" is 0.1.
    weight_averaging : float, default=0.99
        Decay of the moving average of the weights, which predicts; 0 for none.
    max_epochs : int or "auto", default="auto"
        Passes over the training set, at most; "auto" as in `FlowExpressionClassifier`.
    max_steps : int, default=None
        Optimiser steps, at most.
    batch_size : int or "auto", default="auto"
        As in `FlowExpressionClassifier`.
    learning_rate : float, default=1e-3
        Highest learning rate of AdamW.
    schedule : {"one-cycle", "constant"}, default="one-cycle"
        As in `FlowExpressionClassifier`.
    weight_decay : float, default=1e-4
        Of AdamW.
    validation_fraction : float, default=None
        Share of the rows (or of the groups, where `fit` gets them) held out and watched.
    patience : int, default=None
        Stop after so many epochs without a better validation loss, and keep the best weights.
    device : str, default="auto"
        Torch device; "auto" is a CUDA GPU where there is one.
    mirror_average : bool, default=True
        Average the logits over an image and its mirror image.
    calibrate : {"temperature"}, default=None
        Fit `temperature_` on rows that training does not see: of a first training that holds a tenth out, after which
        the network is trained again on all rows; or on those that `validation_fraction` holds out, with one training.
        `fit` warns without `groups`.
    verbose : int, default=0
        1 shows a progress bar, 2 a line per epoch too.
    random_state : int, RandomState instance or None, default=None
        Source of everything random.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    n_features_in_ : int
        Values of one image, H * W * C.
    image_shape_ : tuple (H, W, C)
        Shape of an image.
    input_range_ : tuple (low, high)
        What black and white are in X.
    temperature_ : float
        Divides the logits; 1 unless calibrated.
    signal_ : ImageSignal
        How rows become what the network sees.
    seed_ : int
        Drawn from `random_state`; weights and batches come from it.
    validation_ : {"none", "by group", "random"}
        How rows were held out, for validation or calibration.
    batch_size_ : int
        Rows of a batch.
    device_ : str
        Where the network was trained.
    n_steps_ : int
        Optimiser steps done.
    n_parameters_ : int
        Number of trainable parameters.
    history_ : list of dict
        A row per epoch: class loss, accuracy, and where rows were held out val_* of both, and how ("validation").
    module_ : torch.nn.Module
        The trained network.

    References
    ----------
    .. [1] Aathreya & Canavan, "Expression Recognition using a Flow-based Latent-space Representation".

    Examples
    --------
    >>> from flowexpr.baselines import CNNExpressionClassifier
    >>> from flowexpr.datasets import make_faces
    >>> faces = make_faces(4, image_size=32, random_state=0)
    >>> cnn = CNNExpressionClassifier(max_epochs=2, random_state=0).fit(faces.images, faces.target)
    >>> cnn.predict_proba(faces.images[:2]).shape, cnn.transform(faces.images[:2]).shape
    ((2, 6), (2, 128))
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, ...] | None = None,
        hidden_channels: int = 32,
        n_features: int = 128,
        class_weight: Any = None,
        augment: Any = True,
        label_smoothing: float | str = 0.1,
        weight_averaging: float = 0.99,
        max_epochs: int | str = "auto",
        max_steps: int | None = None,
        batch_size: int | str = "auto",
        learning_rate: float = 1e-3,
        schedule: str = "one-cycle",
        weight_decay: float = 1e-4,
        validation_fraction: float | None = None,
        patience: int | None = None,
        device: str = "auto",
        mirror_average: bool = True,
        calibrate: str | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.image_shape = image_shape
        self.hidden_channels = hidden_channels
        self.n_features = n_features
        self.class_weight = class_weight
        self.augment = augment
        self.label_smoothing = label_smoothing
        self.weight_averaging = weight_averaging
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.mirror_average = mirror_average
        self.calibrate = calibrate
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n, H, W), (n, H, W, C), or (n, H * W * C) with `image_shape`
            Images, uint8 or floats within 0..1 or 0..255.
        y : array-like of shape (n,)
            Labels.
        groups : array-like of shape (n,), default=None
            The subject of every row. Used to hold out whole subjects for validation and calibration.

        Returns
        -------
        self : CNNExpressionClassifier
            Fitted.

        Raises
        ------
        ValueError
            If X, y, groups or a parameter is not what it must be; before any training.
        TrainingDivergedError
            If ten training steps in a row, or all, have no finite loss or gradient.
        """
        check_parameters(self.get_params(deep=False))
        with unchanged_if_refused(self), torch.inference_mode(False), torch.enable_grad(), own_arithmetic():
            given = read_fit_input(self, X, y, groups, self.image_shape)
            self._train(given.rows, self._set_data(given), given.groups)
        return self

    def _set_data(self, given: FitInput) -> NDArray[np.int64]:
        """Set what the data and the parameters tell before training; return the class index of every row."""
        if given.image_shape is None:
            raise ValueError(
                f"images were expected, but X has shape {given.rows.shape}. Pass X of shape (n, H, W[, C]), or "
                "image_shape."
            )
        rows = given.rows
        # Not fitted until training is done, whatever an earlier fit left.
        if hasattr(self, "n_steps_"):
            del self.n_steps_
        self.image_shape_ = given.image_shape
        self.classes_, indices = split_labels(given.labels, None)
        self.input_range_ = find_input_range(rows, N_BITS)
        self.signal_ = ImageSignal(self.image_shape_, self.input_range_, N_BITS, rows.dtype.name)
        self.device_ = str(resolve_device(self.device))
        self.batch_size_ = resolve_batch_size(self.batch_size, len(rows))
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        return indices

    def _train(self, rows: NDArray[Any], y: NDArray[np.int64], groups: NDArray[Any] | None) -> None:
        first = fit_to_calibrate(self, lambda first: first._train(rows, y, groups))
        self.temperature_ = 1.0
        training, held_out = hold_out(self, rows, y, groups)
        if first is not None:
            self.temperature_, self.validation_ = first.temperature_, first.validation_
        n_training = len(training.indices)
        if n_training // training.n_batches(self.batch_size_) < 2:
            raise ValueError(
                f"batch_size={self.batch_size} leaves batches of one image of {n_training}, of which batch "
                "normalisation knows no variance. Pass a larger batch_size, or 'auto'."
            )
        self._build_module(torch.Generator().manual_seed(self.seed_))
        weight = torch.tensor(class_weights(self, y[training.indices]), dtype=torch.float32, device=self.device_)
        _, smoothing = resolve_loss("auto", self.label_smoothing, is_image=True)
        objective = ClassObjective(label_smoothing=smoothing, class_weight=weight)
        trainer = Trainer(self.module_, objective, training, held_out, plan_of(self, training))
        try:
            trainer.run()
        except KeyboardInterrupt:
            self._finish(trainer, groups)
            raise
        self._finish(trainer, groups)

    def _build_module(self, generator: torch.Generator | None = None) -> None:
        """Make an untrained network of the fitted shapes, with weights from a generator, or to be loaded."""
        widths = self.hidden_channels, self.n_features
        with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator when they are made
            network = ResidualNetwork(self.image_shape_[2], len(self.classes_), *widths).eval()
        if generator is not None:
            draw_weights(network, generator)  # before it moves to a device of which the generator is not
        self.module_: ResidualNetwork = network.to(self.device_, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _finish(self, trainer: Trainer, groups: NDArray[Any] | None) -> None:
        held_out = trainer.validation
        if self.calibrate and held_out is not None:
            logits = self._mean_logits(held_out.rows[held_out.indices])
            even = np.zeros(len(self.classes_))
            people = None if groups is None else groups[held_out.indices]
            self.temperature_ = fit_temperature(logits, even, held_out.y[held_out.indices], people)
        self.history_, self.n_steps_ = history_of(self, trainer), trainer.step

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the deep features, what the first dense layer puts out.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Images.

        Returns
        -------
        features : ndarray of shape (n, n_features), float32
            Of the images as given, without their mirror images.
        """
        rows, network = rows_of(self, X), network_of(self)
        with torch.inference_mode(), own_arithmetic():
            batches = [network.deep_features(x).cpu().numpy() for x in self._batches(rows)]
        return np.concatenate(batches)

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether training is done, or was interrupted by Ctrl-C; not whether it has begun."""
        return hasattr(self, "n_steps_")

    @property
    def n_parameters_(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.module_.parameters())

    @property
    def _n_features_out(self) -> int:
        return int(self.module_.features.out_features)

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:
        return self._mean_logits(rows_of(self, X)) / self.temperature_

    def _batches(self, rows: NDArray[Any]) -> Iterator[Tensor]:
        device = resolve_device(self.device)
        for start in range(0, len(rows), PREDICTED_AT_ONCE):
            yield self.signal_.to_model(rows[start : start + PREDICTED_AT_ONCE]).to(device)

    def _mean_logits(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return the logits (n, n_classes) of rows, before the temperature."""
        network = network_of(self)
        with torch.inference_mode(), own_arithmetic():
            parts = [
                network.mean_over_views(x, mirror=self.mirror_average).double().cpu().numpy()
                for x in self._batches(rows)
            ]
        return np.concatenate(parts)
