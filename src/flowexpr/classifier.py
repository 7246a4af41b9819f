"""FlowExpressionClassifier: parameters, validation, and scikit-learn's contract; the mathematics is in `flows`."""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from flowexpr._callbacks import CallbackSupportMixin, with_callbacks
from flowexpr.arithmetic import own_arithmetic
from flowexpr.decisions import LogitClassifierMixin
from flowexpr.explain import Explanation
from flowexpr.explain.request import explain
from flowexpr.fitted import in_training_range, indices_where_labelled, predictor_of, rows_of
from flowexpr.fitting import build_module, run_fit, unchanged_if_refused
from flowexpr.inputs import as_latent, check_latents, named_levels, read_fit_input
from flowexpr.labels import as_labels, check_lengths, class_indices
from flowexpr.parameters import check_parameters, is_int, is_real
from flowexpr.persistence import SaveMixin
from flowexpr.person import neutral_latents
from flowexpr.resampling import LatentGaussians, choose_measured, missing_labels
from flowexpr.typicality import TypicalityReference

__all__ = ["FlowExpressionClassifier"]


class FlowExpressionClassifier(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    LogitClassifierMixin,
    SaveMixin,
    BaseEstimator,
):
    """A normalizing flow that classifies images or vectors by Bayes' rule on exact likelihoods.

    A Glow backbone f maps an image to latents z1 (the deepest), z2, ...; a small class-conditional flow h maps
    z1 to z'1. Together they give log p(x | y = i) of every class, and the prediction is the class with the
    largest log p(x | y = i) + log p(y = i) [1]_. Vectors (2-D X) go through RealNVP instead.

    Parameters
    ----------
    backbone : {"glow", "realnvp"}, default=None
        The flow f; None takes Glow for images and RealNVP for vectors. RealNVP takes the pixels of images for features
        of a vector: nothing is quantised, mirrored or augmented, and samples may lie outside black and white.
    head : {"conditional", "gmm"}, default="conditional"
        The flow h on z1: the paper's conditional flow, or one Gaussian per class (FlowGMM [2]_).
    image_shape : tuple, default=None
        (H, W) or (H, W, C) of images that come as flat rows; not needed for X of shape (n, H, W[, C]).
    n_blocks : int or "auto", default="auto"
        Blocks of Glow. "auto" is the smallest n with max(H, W) / 2**n <= 4, else the largest that divides both.
    n_flows : int, default=4
        Flow steps in a block (in all, for RealNVP).
    hidden_channels : int, default=128
        Width of the coupling networks of f.
    head_n_flows, head_hidden_channels : int, default=4, 128
        Flow steps of h and the width of their networks.
    gmm_means : {"random", "learned"}, default="random"
        Means of the "gmm" head: fixed where they were drawn, as in [2]_, or trained.
    class_loss_weight : float or "auto", default="auto"
        lambda of equation 6: weight of the cross-entropy (nats) against -log p(x|y) (bits/dim). 0.3 in the paper;
        "auto" is 3 for images and 0.3 for vectors.
    class_prior : {"empirical", "uniform"} or array of shape (n_classes,), default="empirical"
        p(y), in the order of the sorted labels.
    class_weight : dict or "balanced", default=None
        Weight of every class in the cross-entropy and in the effective prior.
    unlabeled : object, default=None
        The label that means "no label"; such rows enter through -log sum_y p(x|y) p(y).
    n_bits : int, default=5
        Bits kept of every pixel, 1 to 8.
    augment : bool or callable, default=True
        Random mirroring, small affine changes (5 degrees, 5 % of size, 3 % of shift), light (contrast by half,
        brightness by 50 of 255) and erasing of training images; or a function
        ``(images, generator) -> images`` of float32 arrays (n, H, W, C) within 0..255. Vectors are never changed.
    label_smoothing : float or "auto", default="auto"
        Share of the target spread over all classes in the cross-entropy; "auto" is 0.1 for images, 0 for vectors.
    weight_averaging : float, default=0.99
        Decay of the moving average of the weights, which predicts; 0 for none.
    max_epochs : int or "auto", default="auto"
        Passes over the training set, at most. "auto" is 30, or, of few images, as many as make 700 steps, up to 90.
    max_steps : int, default=None
        Optimiser steps, at most; None for no limit of its own.
    batch_size : int or "auto", default="auto"
        Rows of a batch; with unlabelled rows, half of them are labelled. "auto" is 32, or an eighth of fewer than 256
        rows, at least 16.
    learning_rate : float, default=1e-3
        Highest learning rate of AdamW.
    schedule : {"one-cycle", "constant"}, default="one-cycle"
        What the learning rate does after its rise over the first tenth of the steps ("constant": at most 100 of
        them): "one-cycle" falls to zero, "constant" stays.
    weight_decay : float, default=1e-4
        Of AdamW; 0 is Adam.
    validation_fraction : float, default=None
        Share of the labelled rows (or of the groups, where `fit` gets them) held out and watched.
    patience : int, default=None
        Stop after so many epochs without a better validation loss, and keep the best weights.
    device : str, default="auto"
        Torch device; "auto" is a CUDA GPU where there is one.
    precision : {"auto", "mixed", "float32", "float64"}, default="auto"
        "mixed" computes the networks of f in bfloat16, and decides between nearly equal classes again in float32, for
        the closest sixteenth of a batch at most.
        "auto" is "mixed" for images where the hardware has bfloat16, else "float32".
    memory : {"auto", "store", "reversible"}, default="auto"
        Store activations for the gradient, or recompute them by inverting the flow; "auto" stores up to 4 GiB.
    mirror_average : bool, default=True
        Average decisions over an image and its mirror image. Vectors have none.
    calibrate : {"temperature"}, default=None
        Fit `temperature_` on rows that training does not see. A first training holds a tenth of them out (of the
        people, where there are `groups`); then the model is trained again on all rows, as without it, and takes that
        temperature: twice the time. With `validation_fraction` the rows held out are those, and there is one training
        only; with `patience` they choose the epoch too. Images without `groups` bring a warning, since rows held out
        at random show people whom training knows. With `warm_start` the first training starts anew.
    zero_z1 : bool, default=False
        Zero z1 where it enters the networks of h, so that classes differ by an affine map of z1 alone (the
        paper's model for morphs).
    checkpoint_dir : path-like, default=None
        Folder in which a killed `fit` is kept, to go on when the same call is made again.
    warm_start : bool, default=False
        Go on from the fitted weights instead of starting anew; `history_` and `n_steps_` begin again.
    verbose : int, default=0
        1 shows a progress bar, 2 a line per epoch too.
    random_state : int, RandomState instance or None, default=None
        Source of everything random. An int gives the same result every time on the same machine (on a GPU, if cuDNN
        is told to be deterministic).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    n_features_in_ : int
        Values of one sample, H * W * C for images.
    image_shape_ : tuple (H, W, C) or None
        Shape of an image; None for vectors.
    sample_shape_ : tuple
        Shape of one sample as it was given to `fit`; `decode`, `sample` and `morph` return it.
    input_range_ : tuple (low, high) or None
        What black and white are in X: (0, 255) or (0, 1); None for vectors.
    log_prior_ : ndarray of shape (n_classes,)
        Effective log p(y), `class_weight` included.
    temperature_ : float
        Divides the log-likelihoods in decisions; 1 unless calibrated.
    signal_ : ImageSignal or VectorSignal
        How rows become the flow's variable, and back.
    seed_ : int
        Drawn from `random_state`; weights and batches come from it.
    feature_names_in_ : ndarray of str
        Names of the columns, where X was a data frame.
    architecture_ : dict
        The parameters that `module_` was built from, whatever was set since.
    precision_, memory_, device_ : str
        What "auto" became.
    batch_size_ : int
        What "auto" became.
    n_threads_ : int
        Threads of torch during `fit`.
    n_blocks_ : int or None
        Blocks of Glow.
    n_parameters_ : int
        Number of trainable parameters.
    history_ : list of dict
        A row per epoch: epoch, steps, learning_rate, bits_per_dim, class_loss, accuracy, skipped_steps, seconds; where
        a validation set was held out, val_* of both losses and of the accuracy, and validation, how it was split off.
    n_steps_ : int
        Optimiser steps done.
    validation_ : {"none", "random", "by group"}
        How rows were held out, for validation or calibration.
    class_latents_ : list of ndarray of shape (n_classes, ...)
        Mean of every latent z1, z2, ... by class, over the surest third of at most 256 training samples each.
    face_frame_ : list of two lists of two float, or None
        Where the average training face has, in pixels, the point between its eyes (x, y), and the way from there to its
        mouth (x, y); None for vectors.
    typicality_reference_ : TypicalityReference
        What at most 1000 training samples looked like to the flow, in Gaussians of low rank; for `typicality`.
    preprocessing_ : dict
        How image files were read, on models that the command ``flowexpr fit`` made.
    module_ : torch.nn.Module
        The trained flow.

    Notes
    -----
    Decisions use ``mean over views of log p(x | y = i) / temperature_ + log_prior_``, the views being the image and,
    with `mirror_average`, its mirror image.

    References
    ----------
    .. [1] Aathreya & Canavan, "Expression Recognition using a Flow-based Latent-space Representation".
    .. [2] Izmailov et al., "Semi-Supervised Learning with Normalizing Flows", 2020,
       https://arxiv.org/abs/1912.13025

    Examples
    --------
    >>> from flowexpr import FlowExpressionClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = FlowExpressionClassifier(random_state=0).fit(X, y)
    >>> clf.predict_proba(X[:1]).shape
    (1, 3)
    >>> clf.score(X, y) > 0.9
    True
    """

    _fitted_scalars = (
        *SaveMixin._fitted_scalars,
        "precision_",
        "memory_",
        "n_threads_",
        "n_blocks_",
        "sample_shape_",
        "_held_out",
        "architecture_",
        "face_frame_",
    )

    def __init__(
        self,
        *,
        backbone: str | None = None,
        head: str = "conditional",
        image_shape: tuple[int, ...] | None = None,
        n_blocks: int | str = "auto",
        n_flows: int = 4,
        hidden_channels: int = 128,
        head_n_flows: int = 4,
        head_hidden_channels: int = 128,
        gmm_means: str = "random",
        class_loss_weight: float | str = "auto",
        class_prior: Any = "empirical",
        class_weight: Any = None,
        unlabeled: Any = None,
        n_bits: int = 5,
        augment: Any = True,
        label_smoothing: float | str = "auto",
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
        precision: str = "auto",
        memory: str = "auto",
        mirror_average: bool = True,
        calibrate: str | None = None,
        zero_z1: bool = False,
        checkpoint_dir: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.backbone = backbone
        self.head = head
        self.image_shape = image_shape
        self.n_blocks = n_blocks
        self.n_flows = n_flows
        self.hidden_channels = hidden_channels
        self.head_n_flows = head_n_flows
        self.head_hidden_channels = head_hidden_channels
        self.gmm_means = gmm_means
        self.class_loss_weight = class_loss_weight
        self.class_prior = class_prior
        self.class_weight = class_weight
        self.unlabeled = unlabeled
        self.n_bits = n_bits
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
        self.precision = precision
        self.memory = memory
        self.mirror_average = mirror_average
        self.calibrate = calibrate
        self.zero_z1 = zero_z1
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    @with_callbacks
    def fit(self, X: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None) -> Self:
        """Train the flow.

        Parameters
        ----------
        X : array-like of shape (n, H, W), (n, H, W, C) or (n, n_features)
            Images, uint8 or floats within 0..1 or 0..255 (a memmap is read a batch at a time); or vectors.
        y : array-like of shape (n,)
            Labels: strings, integers or booleans.
        groups : array-like of shape (n,), default=None
            The subject of every row. Used to hold out whole subjects for validation and calibration, and to measure
            what new people look like for `typicality`.

        Returns
        -------
        self : FlowExpressionClassifier
            Fitted, also after Ctrl-C, which is raised again.

        Raises
        ------
        ValueError
            If X, y, groups or a parameter is not what it must be; before any training, and an earlier fit stays.
        TrainingDivergedError
            If ten training steps in a row, or all of a short training, are not finite, or what the trained flow
            makes of training samples is not.
        """
        check_parameters(self.get_params(deep=False))
        # What holds around this call, inference mode say, does not hold in it.
        with unchanged_if_refused(self), torch.inference_mode(False), torch.enable_grad(), own_arithmetic():
            given = read_fit_input(self, X, y, groups, self.image_shape)
            self.image_shape_, self.sample_shape_ = given.image_shape, given.sample_shape
            run_fit(self, given.rows, given.labels, given.groups, X)
        return self

    def transform(self, X: ArrayLike, *, groups: ArrayLike | None = None, neutral: Any = None) -> NDArray[np.float32]:
        """Return z'1 under the predicted class, flattened; or how z1 differs from the neutral face of the same person.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.
        groups : array-like of shape (n,), default=None
            The person of every sample; only read where `neutral` is given.
        neutral : array-like of bool of shape (n,), or dict of person to images, default=None
            Which of the samples are neutral, or neutral images of every person. The mean z1 of a person's neutral
            images is then subtracted from the z1 of all of that person's samples. It is z1 instead of z'1, since two
            z'1 under different classes have no difference that means anything.

        Returns
        -------
        latents : ndarray of shape (n, d), float32
            d is the number of values of z1; `get_feature_names_out` names them.

        Raises
        ------
        ValueError
            If `neutral` is given without `groups`, is of another kind, or lacks a person.
        """
        rows = rows_of(self, X)
        latents = predictor_of(self).latents(rows)
        if neutral is None:
            return latents.z1_prime.reshape(len(rows), -1).astype(np.float32)
        z1 = latents.z[0].reshape(len(rows), -1)
        own = neutral_latents(z1, groups, neutral, lambda images: self.encode(images).z1)
        return (z1 - own).astype(np.float32)

    def fit_transform(
        self, X: ArrayLike, y: ArrayLike | None = None, *, groups: ArrayLike | None = None, neutral: Any = None
    ) -> NDArray[np.float32]:
        """Fit, and return `transform` of the same samples.

        Parameters
        ----------
        X, y : array-like
            As in `fit`.
        groups : array-like of shape (n,), default=None
            The person of every sample, for `fit` and for `transform`.
        neutral : array-like of bool of shape (n,), or dict of person to images, default=None
            As in `transform`.

        Returns
        -------
        latents : ndarray of shape (n, d), float32
            What `transform` returns.
        """
        return self.fit(X, y, groups=groups).transform(X, groups=groups, neutral=neutral)

    def class_log_likelihood(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return log p(x | y = i) of the samples as given (equation 2), nats.

        For images this is the log probability of the quantised image, the density in the middle of its cell times the
        volume of the cell (of 5 bits a hundredth of a bit/dim from the mean over the cell, of 1 bit a fifth); for
        vectors the log-density in the original units.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.

        Returns
        -------
        log_likelihood : ndarray of shape (n, n_classes)
            Columns in the order of `classes_`.
        """
        rows = rows_of(self, X)
        return predictor_of(self).class_log_likelihood(rows)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return log p(x) = log sum_i p(x | y = i) p(y = i) of the samples as given, nats.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.

        Returns
        -------
        log_likelihood : ndarray of shape (n,)
            See `class_log_likelihood` for what it is a density or probability of.
        """
        return logsumexp(self.class_log_likelihood(X) + self.log_prior_, axis=1)

    def bits_per_dim(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return -log2 p(x) divided by the number of values of a sample; lower is better.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.

        Returns
        -------
        bits_per_dim : ndarray of shape (n,)
            Bits per dimension.
        """
        return -self.score_samples(X) / (self.n_features_in_ * np.log(2))

    def typicality(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return how typical samples are of those that the flow was trained on.

        A likelihood alone does not tell: plain images get a higher one than faces. This compares its parts, level by
        level and place by place, with those of the training samples (see `flowexpr.typicality`).

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.

        Returns
        -------
        typicality : ndarray of shape (n,)
            Between 0 and 1; higher is more typical. About the share of training samples that look less typical than
            this one to a reference that has not seen their people, so that for samples like the training samples, of
            new people, it is roughly uniform: 5 % of them are below 0.05.
        """
        rows = rows_of(self, X)
        return self.typicality_reference_.typicality(predictor_of(self).views(rows))

    def encode(self, X: ArrayLike, y: Any = None) -> Bunch:
        """Return every latent of the samples, by name.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples; no noise is added.
        y : label or array-like of shape (n,), default=None
            The class under which z'1 is taken; None takes the predicted one.

        Returns
        -------
        latents : Bunch
            ``z1`` (the deepest), ``z1_prime``, ``z2``, ... of shape (n, h, w, c) (vectors: (n, n_features)); ``y``, the
            labels of ``z1_prime``. The latents of images are float32, or float64 where only that inverts exactly.
        """
        rows = rows_of(self, X)
        indices = None if y is None else class_indices(self.classes_, y, len(rows))
        found = predictor_of(self).invertible_latents(rows, indices)
        named = {f"z{i + 1}": level for i, level in enumerate(found.z)}
        return Bunch(z1_prime=found.z1_prime, y=self.classes_[found.y], **named)

    def decode(self, latents: Mapping[str, Any]) -> NDArray[Any]:
        """Return the samples that have given latents: the exact inverse of `encode`.

        Parameters
        ----------
        latents : mapping
            As `encode` returns it. Where ``z1`` is missing it is made from ``z1_prime`` and ``y``. The inverse is
            computed in float64 where all of them are.

        Returns
        -------
        X : ndarray
            In the shape of the training X. Images are quantised to `n_bits` and of its type, vectors are float64.
        """
        check_is_fitted(self)
        shapes = [mean.shape[1:] for mean in self.class_latents_]
        if not hasattr(latents, "keys"):
            raise ValueError(
                f"latents were expected to be a mapping of their names to arrays, but are {type(latents).__name__}. "
                "Pass what `encode` returned."
            )
        given = {
            name: np.asarray(level) if name == "y" else as_latent(name, level) for name, level in dict(latents).items()
        }
        exact = all(level.dtype == np.float64 for name, level in given.items() if name != "y")
        predictor = predictor_of(self, exact=exact)
        if "z1" not in given and {"z1_prime", "y"} <= given.keys():
            check_latents({"z1_prime": given["z1_prime"]}, shapes[:1])
            labels = class_indices(self.classes_, given["y"], len(given["z1_prime"]))
            given["z1"] = predictor.z1_from_prime(given["z1_prime"], labels)
        return self._shaped(predictor.decode(list(named_levels(given, shapes).values())))

    def sample(
        self, n_samples: int | None = None, y: Any = None, *, temperature: float = 1.0, random_state: Any = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Draw new samples from the model.

        Parameters
        ----------
        n_samples : int, default=None
            How many; None is as many as there are labels in y, or one.
        y : label or array-like of shape (n_samples,), default=None
            Their classes; None draws them from the prior.
        temperature : float, default=1.0
            Scale of every Gaussian; below 1 the samples are more typical and less varied.
        random_state : int, RandomState instance or None, default=None
            Source of the draws; None uses the estimator's.

        Returns
        -------
        X : ndarray
            Samples, in the shape and type of the training X.
        y : ndarray of shape (n_samples,)
            Their labels.
        """
        check_is_fitted(self)
        if n_samples is None:
            n_samples = np.size(y) if np.ndim(y) else 1
        if not is_int(n_samples) or n_samples < 1 or not is_real(temperature) or temperature < 0:
            raise ValueError(
                "an integer n_samples of at least 1 and a temperature of at least 0 were expected, but came "
                f"n_samples={n_samples!r}, temperature={temperature!r}."
            )
        random = check_random_state(self.random_state if random_state is None else random_state)
        if y is None:
            prior = np.exp(self.log_prior_)
            indices = random.choice(len(self.classes_), n_samples, p=prior / prior.sum())
        else:
            indices = class_indices(self.classes_, y, n_samples)
        generator = torch.Generator().manual_seed(int(random.randint(2**31)))
        rows = predictor_of(self).sample(indices.astype(np.int64), temperature, generator)
        return self._shaped(rows), self.classes_[indices]

    def morph(self, X: ArrayLike, to: Any, from_: Any = None, *, strength: float = 1.0) -> NDArray[Any]:
        """Move samples towards a class by latent averages, keeping what else is in them.

        Every latent z of a sample becomes z + strength * (mean z of class `to` - mean z of class `from_`), the means
        being `class_latents_`, of the training samples that the model is surest of.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Where to start: neutral faces of the same people, say.
        to : label or array-like of shape (n,)
            The class to move to.
        from_ : label or array-like of shape (n,), default=None
            The class to move away from, such as "neutral" where the model knows it: it then starts where the sample
            is. None is the average of all classes but `to`, as in the paper, and needs no neutral class; it serves
            from any expression, and takes less far than from a class that the sample shows.
        strength : float, default=1.0
            How far; 0 gives the quantised samples back.

        Returns
        -------
        X : ndarray
            In the shape and type of the training X.
        """
        rows = rows_of(self, X)
        target = class_indices(self.classes_, to, len(rows))
        origin = None if from_ is None else class_indices(self.classes_, from_, len(rows))
        if not is_real(strength):
            raise ValueError(f"strength was expected to be a finite number, but is {strength!r}.")
        moved = []
        found = predictor_of(self).invertible_latents(rows, target).z
        for level, mean in zip(found, self.class_latents_, strict=True):
            others = (mean.sum(0) - mean) / (len(mean) - 1)
            start = others[target] if origin is None else mean[origin]
            with np.errstate(over="ignore", invalid="ignore"):
                # In the level's type: NumPy before 2 takes a strength beyond float32 for a reason to go on in float64.
                moved.append(level + level.dtype.type(strength) * (mean[target] - start))
        decoded = None
        if all(np.isfinite(level).all() for level in moved):
            decoded = predictor_of(self, exact=moved[0].dtype == np.float64).decode(moved)
        if decoded is None or not np.isfinite(decoded).all():
            raise ValueError(
                f"strength={strength!r} leads to latents that cannot be computed with. Pass a smaller one."
            )
        return self._shaped(decoded)

    def oversample(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_per_class: int | None = None,
        temperature: float = 0.8,
        random_state: Any = None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Add generated samples of the rare classes, drawn around the latents of the given ones.

        Everything comes from this fitted flow and from X: inside cross-validation, fit the flow on a training fold and
        pass that fold, and nothing of the test fold can enter.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Training samples, some of every class.
        y : array-like of shape (n,)
            Their labels. Samples of the label `unlabeled` are passed through.
        n_per_class : int, default=None
            Fill every class up to so many samples; None is as many as the most frequent class has.
        temperature : float, default=0.8
            Scale of the deviations from the mean latents of a class; smaller is more typical and less varied.
        random_state : int, RandomState instance or None, default=None
            Source of the draws; None uses the estimator's.

        Returns
        -------
        X : ndarray
            The samples given, then the generated ones, which are quantised to `n_bits`; uint8 images become floats
            within 0..1 where the model was fitted on such.
        y : ndarray
            Their labels.

        Raises
        ------
        ValueError
            If a label is unknown, a class has no sample, no class has two, or another parameter is not what it must
            be.
        """
        rows = in_training_range(self, rows_of(self, X))
        if not is_real(temperature) or temperature < 0:
            raise ValueError(f"a temperature of at least 0 was expected, but came temperature={temperature!r}.")
        given = as_labels(y)
        check_lengths(rows.shape, given)
        indices = indices_where_labelled(self, given)
        new = missing_labels(indices, len(self.classes_), n_per_class)
        if not len(new):
            return self._shaped(rows), given
        random = check_random_state(self.random_state if random_state is None else random_state)
        measured = choose_measured(indices, random)
        predictor = predictor_of(self)
        fitted = LatentGaussians(predictor.latents(rows[measured], indices[measured]).z, indices[measured])
        drawn = predictor.decode(fitted.latents(new, fitted.draw_deviations(len(new), temperature, random)))
        return self._shaped(np.concatenate([rows, drawn])), np.concatenate([given, self.classes_[new]])

    def explain(
        self,
        X: ArrayLike,
        against: Any = None,
        *,
        label: Any = None,
        pixel_map: bool = True,
        counterfactual: bool = True,
        confidence: float = 0.9,
        neutral: Any = None,
        landmarks: ArrayLike | None = None,
        reference: Any = None,
        exclude: Any = None,
        n_neighbours: int = 3,
    ) -> list[Explanation]:
        """Explain why the model says one class and not another.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.
        against : label or array-like of shape (n,), default=None
            The class to compare with; the most probable other one where it is None, or is the class explained itself.
        label : label or array-like of shape (n,), default=None
            The class to explain; None is the predicted one.
        pixel_map : bool, default=True
            Also make the map of the evidence over pixels (or features), and sum it over the regions of a face.
        counterfactual : bool, default=True
            Also search the nearest sample that the model takes for `against` (for `label`, where `against` is what it
            says already).
        confidence : float, default=0.9
            Probability that the counterfactual must have, above 0 and below 1.
        neutral : array-like of one sample or n, or label, default=None
            The same people at rest, where the map starts from. Otherwise it starts from the nearest version of each
            sample that the model takes for the class of this label ("neutral" where it is None), or, where the model
            knows no such class or says it already, for any class as much as for any other.
        landmarks : array-like of shape (n, 5, 2) or (n, 68, 2), default=None
            x and y in pixels of eyes, nose and mouth corners, or of iBUG's points; None finds eyes and mouth on the
            average training face.
        reference : tuple (X, y) or (X, y, ids), or ReferenceFaces, default=None
            Faces among which the nearest are looked up. A tuple is encoded at every call; ReferenceFaces are what
            `flowexpr.explain.encode_reference` encoded once.
        exclude : id, set of ids, or array-like, default=None
            Ids of the reference that are not shown. A list or an array of length n holds an id, or a collection of
            ids, for every sample; one id, a set, or ids of any other number are left out for all samples.
        n_neighbours : int, default=3
            Nearest reference faces of each of the two classes.

        Returns
        -------
        explanations : list of Explanation
            One for every sample. Evidence and its parts are exact; see `flowexpr.explain.Explanation`.

        Raises
        ------
        ValueError
            If a parameter is not what it must be.
        """
        return explain(
            self,
            X,
            against,
            label=label,
            pixel_map=pixel_map,
            counterfactual=counterfactual,
            confidence=confidence,
            neutral=neutral,
            landmarks=landmarks,
            reference=reference,
            exclude=exclude,
            n_neighbours=n_neighbours,
        )

    @property
    def n_parameters_(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.module_.parameters() if p.requires_grad)

    @property
    def _n_features_out(self) -> int:
        return math.prod(self.module_.backbone.z1_shape)

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:
        rows = rows_of(self, X)
        return predictor_of(self).decision_logits(rows)

    def _shaped(self, rows: NDArray[Any]) -> NDArray[Any]:
        return rows.reshape(len(rows), *self.sample_shape_)

    def _build_module(self) -> None:
        self.module_ = build_module(self, torch.Generator().manual_seed(0)).eval()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        means = {f"class_latents.{i}": mean for i, mean in enumerate(self.class_latents_)}
        typical = {f"typicality.{name}": array for name, array in self.typicality_reference_.to_arrays().items()}
        return {"log_prior": self.log_prior_, **means, **typical}

    def _set_arrays(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.log_prior_ = arrays.pop("log_prior")
        self.class_latents_ = [arrays.pop(f"class_latents.{i}") for i in range(self.n_blocks_ or 1)]
        prefix = "typicality."
        names = [name for name in arrays if name.startswith(prefix)]
        typical = {name.removeprefix(prefix): arrays.pop(name) for name in names}
        self.typicality_reference_ = TypicalityReference.from_arrays(typical)

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether training is done, or was interrupted by Ctrl-C; not whether it has begun."""
        return hasattr(self, "n_steps_")

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that z'1 is float32 whatever came in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
