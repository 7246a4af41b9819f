"""What may be asked of an explanation, checked: samples, classes, neutral faces, landmarks and reference faces."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from flowexpr.arithmetic import own_arithmetic
from flowexpr.exceptions import warn
from flowexpr.explain.evidence import EvidenceModel, refuse_one_class
from flowexpr.explain.explanation import Explanation
from flowexpr.explain.neighbours import ReferenceFaces
from flowexpr.explain.run import Explainer, as_samples
from flowexpr.face_frame import frames_of_landmarks
from flowexpr.fingerprints import fingerprint
from flowexpr.fitted import in_training_range, indices_where_labelled, predictor_of, rows_of
from flowexpr.inputs import as_frame
from flowexpr.labels import class_indices

if TYPE_CHECKING:
    from flowexpr.classifier import FlowExpressionClassifier

__all__ = ["encode_reference", "explain"]


@torch.inference_mode(False)  # no gradient could go through tensors that are made inside a caller's
@own_arithmetic()
def explain(
    estimator: "FlowExpressionClassifier",
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
    """Explain decisions; `FlowExpressionClassifier.explain` documents the parameters."""
    rows = in_training_range(estimator, rows_of(estimator, X))  # so that all images of an explanation are on one scale
    n = len(rows)
    refuse_one_class(label, against)
    explainer = Explainer(
        estimator,
        pixel_map=pixel_map,
        counterfactual=counterfactual,
        confidence=confidence,
        n_neighbours=n_neighbours,
    )
    frames = None
    if landmarks is not None:
        if estimator.image_shape_ is None:
            raise ValueError("landmarks were given, but the model was fitted on vectors. Pass landmarks=None.")
        frames = frames_of_landmarks(landmarks, n, estimator.image_shape_[:2])
    faces = _reference(estimator, explainer.model, reference)
    explanations = explainer.explain(
        rows,
        label=None if label is None else class_indices(estimator.classes_, label, n),
        against=None if against is None else class_indices(estimator.classes_, against, n),
        neutral=_neutral(estimator, neutral, n),
        frames=frames,
        reference=faces,
        exclude=_excluded(exclude, faces, n),
        typicality=estimator.typicality(X),
    )
    if exclude is not None:
        _warn_of_nobody_left(explanations)
    return explanations


def _warn_of_nobody_left(explanations: list[Explanation]) -> None:
    empty = [label for one in explanations for label, near in (one.neighbours or {}).items() if not near]
    if empty:
        warn(
            f"exclude leaves no reference sample of {empty[0]} to be shown, or there is none: {len(empty)} lists of "
            "neighbours are empty. exclude names whom to leave out, such as the person explained."
        )


@own_arithmetic()
def encode_reference(
    estimator: "FlowExpressionClassifier", X: ArrayLike, y: ArrayLike, ids: ArrayLike | None = None
) -> ReferenceFaces:
    """Encode reference faces once, to be passed to `explain` as `reference` again and again.

    Parameters
    ----------
    estimator : FlowExpressionClassifier
        Fitted.
    X : array-like of the shape given to `fit`
        Samples, the training samples say.
    y : array-like of shape (n,)
        Their labels; samples of the label `unlabeled` are none of the reference.
    ids : array-like of shape (n,), default=None
        Whose they are, so that `exclude` can leave some out.

    Returns
    -------
    reference : ReferenceFaces
        Encoded.
    """
    check_is_fitted(estimator)
    return _encoded(estimator, EvidenceModel(predictor_of(estimator)), X, y, ids)


def _encoded(
    estimator: "FlowExpressionClassifier",
    model: EvidenceModel,
    X: ArrayLike,
    y: ArrayLike,
    ids: ArrayLike | None = None,
) -> ReferenceFaces:
    try:
        rows, y = in_training_range(estimator, rows_of(estimator, X)), np.asarray(y)
    except ValueError as error:
        raise ValueError(f"reference: {error}") from error
    if ids is not None and np.shape(ids) != (len(rows),):
        raise ValueError(
            f"ids were expected to be {len(rows)}, one per reference sample, but have shape {np.shape(ids)}."
        )
    if y.shape != (len(rows),):
        raise ValueError(
            f"labels of the reference were expected to be {len(rows)}, one per sample, but have shape {y.shape}."
        )
    return ReferenceFaces(
        model,
        as_samples(estimator, rows),
        rows,
        indices_where_labelled(estimator, y),
        None if ids is None else np.asarray(ids),
        _key(estimator),
    )


def _key(estimator: "FlowExpressionClassifier") -> str:
    """Return what tells a fitted model from others, and from itself fitted again."""
    return fingerprint(estimator.classes_.tolist(), estimator.class_latents_[0])


def _reference(estimator: "FlowExpressionClassifier", model: EvidenceModel, reference: Any) -> ReferenceFaces | None:
    if isinstance(reference, ReferenceFaces) and reference.encoded_by != _key(estimator):
        raise ValueError(
            "reference was encoded by another model, or before this one was fitted anew. Encode it again: "
            "encode_reference(estimator, X, y, ids)."
        )
    if reference is None or isinstance(reference, ReferenceFaces):
        return reference
    if not isinstance(reference, tuple | list) or len(reference) not in (2, 3):
        raise ValueError("reference was expected to be (X, y), (X, y, ids), or what `encode_reference` returned.")
    return _encoded(estimator, model, *reference)


def _excluded(exclude: Any, reference: ReferenceFaces | None, n: int) -> list[set[Any]]:
    """Return for every sample the ids that are left out."""
    if exclude is None:
        return [set()] * n
    if reference is None or reference.ids is None:
        raise ValueError("exclude was given, but no ids to find it among. Pass reference=(X, y, ids), or no exclude.")
    given = exclude.tolist() if hasattr(exclude, "tolist") else exclude
    given = {given} if not _is_collection(given) else given if hasattr(given, "__len__") else list(given)
    is_nested = any(_is_collection(one) for one in given)
    if isinstance(given, set | frozenset) or (len(given) != n and not is_nested):
        return _of_the_kind([set(given)] * n, reference.ids)
    if len(given) != n:
        raise ValueError(
            f"exclude was expected to hold the ids of each of {n} samples, but holds {len(given)} collections. Pass "
            "one for every sample, or a set of ids that are left out for all."
        )
    return _of_the_kind([set(one) if _is_collection(one) else {one} for one in given], reference.ids)


def _is_collection(given: Any) -> bool:
    return isinstance(given, Iterable) and not isinstance(given, str | bytes)


def _of_the_kind(left_out: list[set[Any]], ids: NDArray[Any]) -> list[set[Any]]:
    """Refuse ids of another type than the reference's, none of which would ever be found: "7" is not 7."""
    kinds = {isinstance(one, str) for one in ids.tolist()}
    strangers = [one for some in left_out for one in some if isinstance(one, str) not in kinds]
    if strangers:
        raise ValueError(
            f"exclude={strangers[0]!r} is of another type than the ids of the reference, such as {ids[0]!r}. Pass ids "
            "as they stand in the reference."
        )
    return left_out


def _neutral(estimator: "FlowExpressionClassifier", neutral: Any, n: int) -> NDArray[Any] | int | None:
    """Return the rows of neutral faces (n, n_features), or the index of the class that is named."""
    if neutral is None:
        return None
    if np.ndim(neutral) == 0:
        return int(class_indices(estimator.classes_, neutral, 1)[0])
    neutral = as_frame(neutral)
    given = np.asarray(neutral)
    if (given.ndim == 1 and given.dtype.kind in "OUS") or any(isinstance(value, str) for value in given.flat[:1]):
        raise ValueError("neutral was expected to hold samples, or to be one label for all. Pass faces, or one label.")
    is_one = given.ndim == 1 or given.shape in (estimator.sample_shape_, estimator.image_shape_)
    try:
        if is_one and given.ndim > 1:
            given = given.reshape(estimator.sample_shape_)
        rows = in_training_range(estimator, rows_of(estimator, given[None] if is_one else neutral))
    except ValueError as error:
        raise ValueError(f"neutral: {error}") from error
    if len(rows) not in (1, n):
        raise ValueError(f"neutral was expected to hold one sample or {n}, but holds {len(rows)}.")
    return np.broadcast_to(rows, (n, rows.shape[1]))
