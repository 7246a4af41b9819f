"""What a trained flow keeps of its training samples beside its weights: means of latents, what is typical, the face."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowexpr.exceptions import TrainingDivergedError
from flowexpr.face_frame import frame_of_average_face
from flowexpr.inference import Predictor
from flowexpr.training.data import TrainingData
from flowexpr.training.loop import how_to_converge
from flowexpr.typicality import MOST_SAMPLES, N_FOLDS, TypicalityReference

if TYPE_CHECKING:
    from flowexpr.classifier import FlowExpressionClassifier

__all__ = ["set_class_latents", "set_face_frame", "set_typicality"]


FACES_AVERAGED = 1000
"""Training faces, at most, on whose average eyes and mouth are found."""

SAMPLES_PER_CLASS_MEAN = 256
"""Training samples of a class, at most, of which the surest third is averaged for morphs."""


def set_face_frame(estimator: "FlowExpressionClassifier", training: TrainingData) -> None:
    """Find eyes and mouth on the average of evenly chosen training faces; their average itself is not kept."""
    estimator.face_frame_ = None
    if estimator.image_shape_ is not None:
        chosen = training.indices[:: math.ceil(len(training.indices) / FACES_AVERAGED)]
        average = training.rows[chosen].mean(0, dtype=np.float64).reshape(estimator.image_shape_).mean(-1)
        frame = frame_of_average_face(average)
        estimator.face_frame_ = [frame.origin.tolist(), frame.down.tolist()]


def set_class_latents(
    estimator: "FlowExpressionClassifier", predictor: Predictor, training: TrainingData, n_steps: int
) -> None:
    """Average the latents of every class, for morphs and for where descents start; no longer than training took."""
    n_classes = len(estimator.classes_)
    n_seen = math.ceil(n_steps * estimator.batch_size_ / n_classes)
    n_most = max(1, min(SAMPLES_PER_CLASS_MEAN, n_seen))
    random = np.random.default_rng(estimator.seed_)
    means = []
    for label in range(n_classes):
        members = training.indices[training.y[training.indices] == label]
        if len(members) > n_most:
            members = np.sort(random.choice(members, n_most, replace=False))
        z = predictor.latents(training.rows[members], np.full(len(members), label)).z
        # The third that the model is surest of: a clip begins and ends with hardly any expression, and a mean over all
        # of its frames would take a morph to half an expression only.
        surest = np.argsort(-predictor.margins(z[0], label), kind="stable")[: -(-len(members) // 3)]
        means.append([level[surest].mean(0) for level in z])
    estimator.class_latents_ = [np.stack(level) for level in zip(*means, strict=True)]
    _check_converged(estimator, estimator.class_latents_)


def set_typicality(
    estimator: "FlowExpressionClassifier",
    predictor: Predictor,
    training: TrainingData,
    groups: NDArray[Any] | None,
    n_steps: int,
) -> None:
    """Note what training samples look like to the flow, of each person apart where groups are known."""
    n_seen = max(N_FOLDS, n_steps * estimator.batch_size_)
    chosen = training.indices
    if len(chosen) > min(MOST_SAMPLES, n_seen):
        random = np.random.default_rng(estimator.seed_)
        chosen = np.sort(random.choice(chosen, min(MOST_SAMPLES, n_seen), replace=False))
    views = predictor.views(training.rows[chosen])
    _check_converged(estimator, views.values())
    estimator.typicality_reference_ = TypicalityReference.of(views, None if groups is None else groups[chosen])


def _check_converged(estimator: "FlowExpressionClassifier", found: Iterable[NDArray[Any]]) -> None:
    """Raise where what the trained flow makes of training samples is not finite, though every step was."""
    if not all(np.isfinite(values).all() for values in found):
        raise TrainingDivergedError(
            "training ended in a flow that maps training samples to values that are not finite. "
            + how_to_converge(float(estimator.learning_rate))
        )
