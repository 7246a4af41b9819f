"""The steps of `fit` after validation: signal, prior, module, held-out rows, training, and what follows it."""

import copy
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight

from flowexpr import persistence
from flowexpr._callbacks import EpochCallbacks
from flowexpr.after_training import set_class_latents, set_face_frame, set_typicality
from flowexpr.calibration import fit_temperature
from flowexpr.exceptions import ModelFileError, warn
from flowexpr.fingerprints import describe_function, describe_value, fingerprint
from flowexpr.fitted import predictor_of
from flowexpr.flows import ConditionalFlow, FlowModel, GaussianMixture, Glow, RealNVP
from flowexpr.inputs import find_input_range
from flowexpr.labels import split_labels
from flowexpr.parameters import (
    choose_n_blocks,
    resolve_batch_size,
    resolve_device,
    resolve_loss,
    resolve_max_epochs,
    resolve_memory,
    resolve_precision,
)
from flowexpr.signals import ImageSignal, VectorSignal
from flowexpr.training.checkpoint import Checkpoint
from flowexpr.training.data import TrainingData
from flowexpr.training.loop import Plan, Trainer
from flowexpr.training.objective import UNLABELLED, Objective
from flowexpr.validation_split import hold_out

if TYPE_CHECKING:
    from flowexpr.baselines import CNNExpressionClassifier
    from flowexpr.classifier import FlowExpressionClassifier

    Classifier: TypeAlias = FlowExpressionClassifier | CNNExpressionClassifier

__all__ = [
    "architecture_of",
    "build_module",
    "class_weights",
    "fit_to_calibrate",
    "history_of",
    "plan_of",
    "run_fit",
    "unchanged_if_refused",
]

CALIBRATION_FRACTION = 0.1
"""Share of the rows, or of the people, that the first of the two trainings of a calibration holds out."""

ARCHITECTURE = (
    "n_flows",
    "hidden_channels",
    "head",
    "head_n_flows",
    "head_hidden_channels",
    "gmm_means",
    "zero_z1",
)
"""Parameters that the module is built from; a fitted model keeps their values, whatever is set afterwards."""

MOST_FEATURES = 1000
"""Features of a vector above which fit warns."""


@contextmanager
def unchanged_if_refused(estimator: Any) -> Iterator[None]:
    """Leave an estimator as it was, fitted maybe, where a ValueError says that what was asked for cannot be."""
    before = dict(vars(estimator))
    try:
        yield
    except ValueError:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def run_fit(
    estimator: "FlowExpressionClassifier",
    rows: NDArray[Any],
    labels: NDArray[Any],
    groups: NDArray[Any] | None,
    X: Any,
    seed: int | None = None,
) -> None:
    """Train an estimator on validated rows, and set its fitted attributes.

    Parameters
    ----------
    estimator : FlowExpressionClassifier
        Its parameters are valid.
    rows : ndarray of shape (n, n_features)
        Samples.
    labels : ndarray of shape (n,)
        Labels, `estimator.unlabeled` among them.
    groups : ndarray of shape (n,) or None
        The subject of every row.
    X : array-like
        The samples as they were given, for callbacks.
    seed : int or None, default=None
        Of everything random; None draws one from `estimator.random_state`.
    """
    previous = _previous_fit(estimator)
    # Not fitted until training is done, whatever an earlier fit or a loaded file left.
    for name in ("n_steps_", "preprocessing_"):
        if hasattr(estimator, name):
            delattr(estimator, name)
    estimator.classes_, y = split_labels(labels, estimator.unlabeled)
    estimator.architecture_ = architecture_of(estimator)
    _set_signal(estimator, rows)
    _set_prior(estimator, y)  # checked before anything is stored or trained
    _resolve(estimator, len(rows))
    if seed is None:
        seed = int(check_random_state(estimator.random_state).randint(2**31 - 1))
    checkpoint = _checkpoint(estimator, previous, rows, labels, groups, seed)
    if checkpoint is not None:
        seed = checkpoint.seed(seed)
        if checkpoint.result_file.exists() and _load_result(estimator, checkpoint):
            return
    estimator.seed_ = seed
    module = _initial_module(estimator, previous)  # checked, and of a warm start with its signal, before any training

    def fit_alone(first: "FlowExpressionClassifier") -> None:
        first.__dict__.pop("_skl_callbacks", None)  # callbacks are told of the other training
        run_fit(first.set_params(warm_start=False), rows, labels, groups, X, seed)

    first = fit_to_calibrate(estimator, fit_alone)
    training, held_out = hold_out(estimator, rows, y, groups)
    _set_prior(estimator, y[training.indices])
    _note_held_out(estimator, held_out, previous)
    estimator.module_ = module
    try:
        _train(estimator, training, held_out, checkpoint, X, labels, groups)
    finally:  # after Ctrl-C too
        if first is not None:
            estimator.temperature_, estimator.validation_ = first.temperature_, first.validation_
    if checkpoint is not None:
        persistence.save(estimator, checkpoint.result_file)
        checkpoint.finish()


def fit_to_calibrate(estimator: Any, fit: Callable[[Any], None]) -> Any:
    """Fit a copy that holds rows out, whose temperature the estimator takes; None where nothing asks for it.

    Where `validation_fraction` holds rows out anyway, the temperature is fitted on those, without a second training.
    After Ctrl-C the estimator is what its copy is: fitted, and calibrated as far as it goes.
    """
    if not estimator.calibrate or estimator.validation_fraction is not None:
        return None
    first = copy.copy(estimator).set_params(validation_fraction=CALIBRATION_FRACTION)
    try:
        fit(first)
    except KeyboardInterrupt:
        parameters = estimator.get_params(deep=False)
        vars(estimator).update({name: value for name, value in vars(first).items() if name not in parameters})
        raise
    return first


def _load_result(estimator: "FlowExpressionClassifier", checkpoint: Checkpoint) -> bool:
    """Take over the stored result of the same call; a damaged one is reported and left aside."""
    try:
        persistence.load_into(estimator, checkpoint.result_file)
    except ModelFileError as error:
        warn(f"training starts again, since its result cannot be read: {error}")
        return False
    return True


def architecture_of(estimator: "FlowExpressionClassifier") -> dict[str, Any]:
    """Return the parameters that the module is built from, numpy numbers as Python's."""
    values = {name: getattr(estimator, name) for name in ARCHITECTURE}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def build_module(estimator: "FlowExpressionClassifier", generator: torch.Generator) -> FlowModel:
    """Return an untrained flow for the fitted shapes of an estimator, on its device and in its precision."""
    backbone: Glow | RealNVP
    given = estimator.architecture_
    sizes = (given["n_flows"], given["hidden_channels"])
    if isinstance(estimator.signal_, ImageSignal):
        height, width, channels = estimator.signal_.shape
        backbone = Glow((channels, height, width), estimator.n_blocks_, *sizes, generator=generator)
    else:
        backbone = RealNVP(estimator.n_features_in_, *sizes, generator=generator)
    z1_shape, n_classes = backbone.z1_shape, len(estimator.classes_)
    head: ConditionalFlow | GaussianMixture
    if given["head"] == "gmm":
        learned = given["gmm_means"] == "learned"
        head = GaussianMixture(z1_shape, n_classes, learned=learned, generator=generator)
    else:
        head = ConditionalFlow(
            z1_shape,
            n_classes,
            given["head_n_flows"],
            given["head_hidden_channels"],
            label_only=given["zero_z1"],
            generator=generator,
        )
    model = FlowModel(backbone, head)
    model.set_mixed_precision(estimator.precision_ == "mixed")
    model.set_reversible(estimator.memory_ == "reversible")
    dtype = torch.float64 if estimator.precision_ == "float64" else torch.float32
    model = model.to(torch.device(estimator.device_), dtype)
    if isinstance(estimator.signal_, ImageSignal):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _previous_fit(estimator: "FlowExpressionClassifier") -> dict[str, Any] | None:
    """Return what a warm start goes on from, or None."""
    if not estimator.warm_start or not hasattr(estimator, "n_steps_"):
        return None
    names = ("module_", "classes_", "signal_", "_held_out")
    return {name: getattr(estimator, name, None) for name in names}


def _note_held_out(
    estimator: "FlowExpressionClassifier", held_out: TrainingData | None, previous: dict[str, Any] | None
) -> None:
    """Remember which rows are held out; warn where a temperature is fitted on rows that an earlier fit may know."""
    estimator._held_out = None if held_out is None else fingerprint("held out", held_out.rows[held_out.indices])
    if previous is None or not estimator.calibrate or held_out is None:
        return
    if estimator._held_out != previous["_held_out"]:
        warn(
            "warm_start=True goes on from a fit that held other rows out, and may have been trained on those on which "
            f"calibrate={estimator.calibrate!r} fits the temperature now: the probabilities will be too sure of new "
            "people. Calibrate the first fit too, on the same rows, with an integer random_state."
        )


def _set_signal(estimator: "FlowExpressionClassifier", rows: NDArray[Any]) -> None:
    image_shape = estimator.image_shape_
    backbone = estimator.backbone or ("realnvp" if image_shape is None else "glow")
    if backbone == "glow" and image_shape is None:
        raise ValueError(
            "backbone='glow' needs images, but X is 2-D and image_shape=None. Pass X of shape (n, H, W[, C]), "
            "image_shape=(H, W, C), or backbone=None."
        )
    dtype = rows.dtype.name if rows.dtype.kind in "fui" else "float64"
    if rows.dtype == np.int8 and image_shape is not None:
        dtype = "uint8"  # int8 holds no white
    if backbone == "glow" and image_shape is not None:
        estimator.n_blocks_ = choose_n_blocks(estimator.n_blocks, *image_shape[:2])
        estimator.input_range_ = find_input_range(rows, int(estimator.n_bits))
        estimator.signal_ = ImageSignal(image_shape, estimator.input_range_, int(estimator.n_bits), dtype)
    else:
        estimator.n_blocks_ = None
        estimator.input_range_ = None
        if rows.shape[1] > MOST_FEATURES:
            warn(
                f"X has {rows.shape[1]} features, and every step of the flow mixes them all by a full matrix: training "
                "will be slow, and learn little from few rows. Reduce them first (sklearn.decomposition.PCA), or pass "
                "images as images."
            )
        estimator.signal_ = VectorSignal.of(rows)


def _set_prior(estimator: "FlowExpressionClassifier", y: NDArray[np.int64]) -> None:
    n_classes = len(estimator.classes_)
    counts = np.bincount(y[y != UNLABELLED], minlength=n_classes)
    if isinstance(estimator.class_prior, str):
        prior = counts / counts.sum() if estimator.class_prior == "empirical" else np.full(n_classes, 1 / n_classes)
    else:
        prior = np.asarray(estimator.class_prior, dtype=np.float64)
        if prior.shape != (n_classes,) or (prior <= 0).any() or not math.isclose(prior.sum(), 1, abs_tol=1e-6):
            raise ValueError(
                f"class_prior was expected to hold {n_classes} positive probabilities that sum to 1 (one for each of "
                f"{estimator.classes_.tolist()}), but is {prior.tolist()} with sum {prior.sum():g}."
            )
    weighted = prior * class_weights(estimator, y)
    estimator.log_prior_ = np.log(weighted / weighted.sum())


def class_weights(estimator: "Classifier", y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weight of every class (n_classes,), from the parameter class_weight and the labelled rows of y."""
    labels, classes = estimator.classes_[y[y != UNLABELLED]], estimator.classes_.tolist()
    if isinstance(estimator.class_weight, dict):
        strangers = [label for label in estimator.class_weight if label not in classes]
        if strangers and not set(classes) <= set(estimator.class_weight):
            raise ValueError(f"class_weight names {strangers[0]!r}, which is no class. The classes are {classes}.")
    return compute_class_weight(estimator.class_weight, classes=estimator.classes_, y=labels).astype(np.float64)


def _resolve(estimator: "FlowExpressionClassifier", n_samples: int) -> None:
    """Set what the "auto" parameters become."""
    device = resolve_device(estimator.device)
    is_image = isinstance(estimator.signal_, ImageSignal)
    estimator.device_ = str(device)
    estimator.precision_ = resolve_precision(estimator.precision, device, is_image=is_image)
    estimator.batch_size_ = resolve_batch_size(estimator.batch_size, n_samples)
    estimator.memory_ = resolve_memory(estimator.memory, _activation_bytes(estimator, n_samples))
    estimator.n_threads_ = torch.get_num_threads()
    estimator.temperature_ = 1.0


def _activation_bytes(estimator: "FlowExpressionClassifier", n_samples: int) -> int:
    """Estimate what a training step stores for its gradient: three hidden layers a coupling, and its channels."""
    rows = min(estimator.batch_size_, n_samples)
    bytes_of_value = (8 if estimator.precision_ == "float64" else 4) * rows * estimator.n_flows
    if not isinstance(estimator.signal_, ImageSignal):
        return bytes_of_value * 3 * estimator.hidden_channels
    height, width, channels = estimator.signal_.shape
    values = 0
    for block in range(estimator.n_blocks_ or 0):
        positions = (height >> block + 1) * (width >> block + 1)
        values += positions * (3 * estimator.hidden_channels + 8 * (channels << block + 1))
    return bytes_of_value * values


def _checkpoint(
    estimator: "FlowExpressionClassifier",
    previous: dict[str, Any] | None,
    rows: NDArray[Any],
    labels: NDArray[Any],
    groups: NDArray[Any] | None,
    seed: int,
) -> Checkpoint | None:
    if estimator.checkpoint_dir is None:
        return None
    parameters = estimator.get_params(deep=False)
    for name in ("checkpoint_dir", "verbose"):
        del parameters[name]
    if isinstance(estimator.random_state, np.random.RandomState):
        parameters["random_state"] = seed
    if callable(estimator.augment):
        parameters["augment"] = describe_function(estimator.augment, "augment")
    start = [] if previous is None else [t.cpu().numpy() for t in previous["module_"].state_dict().values()]
    described = {name: describe_value(value) for name, value in parameters.items()}
    columns = [list(estimator.sample_shape_), getattr(estimator, "feature_names_in_", np.array([])).tolist()]
    described["precision_"] = estimator.precision_  # which "auto" chooses by the machine
    key = fingerprint([described, persistence.library_versions(), columns], rows, labels, groups, *start)
    return Checkpoint(estimator.checkpoint_dir, key)


def _initial_module(estimator: "FlowExpressionClassifier", previous: dict[str, Any] | None) -> FlowModel:
    """Return a new module, or for a warm start the fitted one's copy."""
    module = build_module(estimator, torch.Generator().manual_seed(estimator.seed_))
    if previous is None:
        return module
    before, now = _describe_data(previous["signal_"]), _describe_data(estimator.signal_)
    if before != now or not np.array_equal(previous["classes_"], estimator.classes_):
        raise ValueError(
            f"warm_start=True goes on from a fit of {before} and the classes {previous['classes_'].tolist()}, but now "
            f"came {now} and {estimator.classes_.tolist()}. Pass the same kind of data, or warm_start=False."
        )
    if isinstance(estimator.signal_, VectorSignal):
        # The weights belong to the mean and scale of before.
        estimator.signal_ = previous["signal_"].also_of(estimator.signal_)
    try:
        module.load_state_dict(previous["module_"].state_dict())
    except RuntimeError as error:
        raise ValueError(
            "warm_start=True goes on from a fitted flow of another architecture. Set n_flows, n_blocks, "
            "hidden_channels, head and the like to what they were then, or warm_start=False."
        ) from error
    return module


def _describe_data(signal: ImageSignal | VectorSignal) -> str:
    return f"images of shape {signal.shape}" if isinstance(signal, ImageSignal) else f"{signal.n_dims} features"


def _train(
    estimator: "FlowExpressionClassifier",
    training: TrainingData,
    held_out: TrainingData | None,
    checkpoint: Checkpoint | None,
    X: Any,
    labels: NDArray[Any],
    groups: NDArray[Any] | None,
) -> None:
    trainer: Trainer

    def fitted_attributes() -> dict[str, Any]:
        module = copy.deepcopy(trainer.averaged_model()).eval()
        return {"module_": module, "history_": history_of(estimator, trainer), "n_steps_": trainer.step}

    plan = plan_of(estimator, training)
    callbacks = EpochCallbacks(estimator, X, labels, plan.max_epochs, fitted_attributes)
    trainer = Trainer(
        estimator.module_,
        _objective(estimator, training),
        training,
        held_out,
        plan,
        checkpoint=checkpoint,
        callbacks=callbacks,
    )
    try:
        try:
            trainer.run()
        except KeyboardInterrupt:
            if estimator.verbose:
                print("interrupted: finishing with what was learned so far; again gives it up.", file=sys.stderr)
            _finish(estimator, trainer, groups)
            raise
        _finish(estimator, trainer, groups)
        callbacks.end()
    finally:
        trainer.callbacks = None  # which know the trainer: its memory, that of a GPU too, is free at once


def history_of(estimator: "Classifier", trainer: Trainer) -> list[dict[str, Any]]:
    """Return a row per epoch, with what the validation set was where there was one."""
    how = {} if trainer.validation is None else {"validation": estimator.validation_}
    return [row | how for row in trainer.history]


def _finish(estimator: "FlowExpressionClassifier", trainer: Trainer, groups: NDArray[Any] | None) -> None:
    """Set what is computed with the trained weights: means of the latents, what is typical, and the temperature."""
    estimator.history_ = history_of(estimator, trainer)
    estimator.module_.eval()
    predictor = predictor_of(estimator)
    set_face_frame(estimator, trainer.data)
    set_class_latents(estimator, predictor, trainer.data, trainer.step)
    set_typicality(estimator, predictor, trainer.data, groups, trainer.step)
    held_out = trainer.validation
    if estimator.calibrate and held_out is not None:
        logits = predictor.decision_logits(held_out.rows[held_out.indices]) - estimator.log_prior_
        people = None if groups is None else groups[held_out.indices]
        estimator.temperature_ = fit_temperature(logits, estimator.log_prior_, held_out.y[held_out.indices], people)
    estimator.n_steps_ = trainer.step


def _objective(estimator: "FlowExpressionClassifier", training: TrainingData) -> Objective:
    dtype, device = next(estimator.module_.parameters()).dtype, torch.device(estimator.device_)
    weights = class_weights(estimator, training.y[training.indices])
    class_loss_weight, label_smoothing = resolve_loss(
        estimator.class_loss_weight, estimator.label_smoothing, is_image=isinstance(estimator.signal_, ImageSignal)
    )
    return Objective(
        torch.tensor(estimator.log_prior_, dtype=dtype, device=device),
        class_loss_weight=class_loss_weight,
        label_smoothing=label_smoothing,
        class_weight=torch.tensor(weights, dtype=dtype, device=device),
        n_dims=estimator.signal_.n_dims,
        log_volume=estimator.signal_.log_volume,
    )


def plan_of(estimator: "Classifier", training: TrainingData) -> Plan:
    """Return the parameters that say how to train, as the training loop takes them."""
    n_batches, is_image = training.n_batches(estimator.batch_size_), isinstance(estimator.signal_, ImageSignal)
    return Plan(
        max_epochs=resolve_max_epochs(estimator.max_epochs, n_batches, is_image=is_image),
        max_steps=estimator.max_steps,
        batch_size=estimator.batch_size_,
        learning_rate=float(estimator.learning_rate),
        schedule=estimator.schedule,
        weight_decay=float(estimator.weight_decay),
        weight_averaging=float(estimator.weight_averaging),
        patience=estimator.patience,
        seed=estimator.seed_,
        dtype=next(estimator.module_.parameters()).dtype,
        device=torch.device(estimator.device_),
        verbose=int(estimator.verbose),
        title="fit and calibrate" if estimator.calibrate and estimator.validation_fraction is not None else "fit",
    )
