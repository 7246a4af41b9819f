"""What may be asked of an explanation, checked: samples, classes, neutral faces, landmarks and reference faces."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError

from flowexpr.explain.evidence import EvidenceModel
from flowexpr.explain.explanation import Explanation
from flowexpr.explain.neighbours import ReferenceFaces
from flowexpr.explain.regions import frames_of_landmarks
from flowexpr.explain.run import Explainer

if TYPE_CHECKING:
    from flowexpr.classifier import FlowExpressionClassifier

__all__ = ["encode_reference", "explain"]


def explain(
    estimator: "FlowExpressionClassifier",
    X: ArrayLike,
    against: Any = None,
    *,
    pixel_map: bool = True,
    counterfactual: bool = True,
    confidence: float = 0.9,
    neutral: ArrayLike | None = None,
    landmarks: ArrayLike | None = None,
    reference: Any = None,
    exclude: Any = None,
    n_neighbours: int = 3,
) -> list[Explanation]:
    """Explain decisions; `FlowExpressionClassifier.explain` documents the parameters."""
    rows = estimator._rows(X)
    n = len(rows)
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
    faces = _reference(estimator, reference)
    return explainer.explain(
        rows,
        against=None if against is None else estimator._class_indices(against, n),
        neutral=None if neutral is None else _neutral_rows(estimator, neutral, n),
        frames=frames,
        reference=faces,
        exclude=_excluded(exclude, faces, n),
        typicality=_typicality(estimator, X),
    )


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
        Their labels.
    ids : array-like of shape (n,), default=None
        Whose they are, so that `exclude` can leave some out.

    Returns
    -------
    reference : ReferenceFaces
        Encoded.
    """
    rows = estimator._rows(X)
    if ids is not None and np.shape(ids) != (len(rows),):
        raise ValueError(
            f"ids were expected to be {len(rows)}, one a reference sample, but have shape {np.shape(ids)}."
        )
    return ReferenceFaces(
        EvidenceModel(estimator._predictor()),
        estimator._shaped(rows),
        rows,
        estimator._class_indices(np.asarray(y), len(rows)),
        None if ids is None else np.asarray(ids),
    )


def _reference(estimator: "FlowExpressionClassifier", reference: Any) -> ReferenceFaces | None:
    if reference is None or isinstance(reference, ReferenceFaces):
        return reference
    if not isinstance(reference, tuple | list) or len(reference) not in (2, 3):
        raise ValueError("reference was expected to be (X, y), (X, y, ids), or what `encode_reference` returned.")
    return encode_reference(estimator, *reference)


def _excluded(exclude: Any, reference: ReferenceFaces | None, n: int) -> list[set[Any]]:
    """Return for every sample the ids that are left out."""
    if exclude is None:
        return [set()] * n
    if reference is None or reference.ids is None:
        raise ValueError("exclude was given, but no ids to find it among. Pass reference=(X, y, ids), or no exclude.")
    if isinstance(exclude, set | frozenset):
        return _of_the_kind([set(exclude)] * n, reference.ids)
    if np.ndim(exclude) == 0:
        return _of_the_kind([{np.asarray(exclude).item()}] * n, reference.ids)
    if len(exclude) != n:
        raise ValueError(
            f"exclude was expected to hold one id a sample ({n}), but holds {len(exclude)}. Pass the id of every "
            "sample, or a set of ids that are left out for all."
        )
    if any(isinstance(one, set | frozenset) for one in exclude):
        return _of_the_kind([set(one) for one in exclude], reference.ids)
    return _of_the_kind([{one} for one in np.asarray(exclude).tolist()], reference.ids)


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


def _neutral_rows(estimator: "FlowExpressionClassifier", neutral: ArrayLike, n: int) -> NDArray[Any]:
    rows = estimator._rows(neutral)
    if len(rows) not in (1, n):
        raise ValueError(f"neutral was expected to hold one sample or {n}, but holds {len(rows)}.")
    return np.broadcast_to(rows, (n, rows.shape[1]))


def _typicality(estimator: "FlowExpressionClassifier", X: ArrayLike) -> NDArray[np.float64] | None:
    """Return the typicality of samples, or None for a model whose file does not know that of training samples."""
    if not hasattr(estimator, "typicality"):
        return None
    try:
        return estimator.typicality(X)
    except NotFittedError:
        return None
