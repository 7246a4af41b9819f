"""What the methods of a fitted classifier start from: samples checked against those of training, the trained model."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from flowexpr.arithmetic import move
from flowexpr.inference import Predictor
from flowexpr.inputs import as_rows, check_features, check_pixels
from flowexpr.labels import class_indices, mark_unlabelled
from flowexpr.parameters import resolve_device
from flowexpr.signals import VectorSignal
from flowexpr.training.objective import UNLABELLED

if TYPE_CHECKING:
    from flowexpr.baselines import CNNExpressionClassifier
    from flowexpr.baselines.residual_network import ResidualNetwork
    from flowexpr.classifier import FlowExpressionClassifier

__all__ = ["in_training_range", "indices_where_labelled", "network_of", "predictor_of", "rows_of"]


def rows_of(estimator: "FlowExpressionClassifier | CNNExpressionClassifier", X: ArrayLike) -> NDArray[Any]:
    """Return samples to predict on as rows (n, n_features), or tell what is wrong with them in a ValueError."""
    check_is_fitted(estimator)
    rows = validate_data(estimator, as_rows(X, estimator.image_shape_), dtype="numeric", reset=False)
    if estimator.input_range_ is not None:
        check_pixels(rows, estimator.input_range_)
    elif isinstance(estimator.signal_, VectorSignal):
        check_features(rows, estimator.signal_.mean, estimator.signal_.scale)
    return rows


def network_of(estimator: "CNNExpressionClassifier") -> "ResidualNetwork":
    """Return the CNN's trained network where `device` says."""
    return move(estimator.module_, resolve_device(estimator.device))


def in_training_range(estimator: "FlowExpressionClassifier", rows: NDArray[Any]) -> NDArray[Any]:
    """Return pixels on the scale that `decode` and `sample` have, where a model of floats 0..1 was given bytes."""
    if rows.dtype == np.uint8 and estimator.input_range_ is not None and estimator.input_range_[1] == 1:
        return (rows / 255).astype(estimator.signal_.dtype)
    return rows


def indices_where_labelled(estimator: "FlowExpressionClassifier", y: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class index of every label of y (n,), `UNLABELLED` where it equals `unlabeled`."""
    labelled = ~mark_unlabelled(y, estimator.unlabeled)
    indices = np.full(len(y), UNLABELLED)
    indices[labelled] = class_indices(estimator.classes_, y[labelled], int(labelled.sum()))
    return indices


def predictor_of(estimator: "FlowExpressionClassifier", *, exact: bool = False) -> Predictor:
    """Return what applies the trained flow to rows; `exact` computes images in float64 too."""
    return Predictor(
        estimator.module_,
        estimator.signal_,
        estimator.log_prior_,
        temperature=estimator.temperature_,
        mirror=estimator.mirror_average,
        device=resolve_device(estimator.device),
        exact=exact,
    )
