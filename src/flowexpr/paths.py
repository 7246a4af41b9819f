"""The straight line between two samples in the latent space, as samples."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from flowexpr.inputs import named_levels
from flowexpr.labels import on_cpu

if TYPE_CHECKING:
    from flowexpr.classifier import FlowExpressionClassifier

__all__ = ["interpolate"]


def interpolate(
    estimator: "FlowExpressionClassifier",
    start: ArrayLike | Mapping[str, Any],
    end: ArrayLike | Mapping[str, Any],
    steps: ArrayLike = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> NDArray[Any]:
    """Decode points on the line between the latents of two samples, pair by pair.

    Parameters
    ----------
    estimator : FlowExpressionClassifier
        Fitted.
    start, end : array-like of the shape given to `fit`, or mapping
        Samples, or latents as `encode` returns them; as many of both.
    steps : array-like of shape (n_steps,), default=(0, 0.25, 0.5, 0.75, 1)
        Places on the line: 0 is the start, 1 the end, beyond them the line goes on.

    Returns
    -------
    path : ndarray of shape (n_steps, n, ...)
        Samples, in the shape of the training X.

    Raises
    ------
    ValueError
        If start and end are not equally many, or no samples or latents of this model, or steps are not finite numbers.

    Examples
    --------
    >>> from flowexpr import FlowExpressionClassifier
    >>> from flowexpr.datasets import make_faces
    >>> from flowexpr.paths import interpolate
    >>> faces = make_faces(2, n_clips=1, image_size=16, random_state=0)
    >>> clf = FlowExpressionClassifier(max_epochs=1, random_state=0).fit(faces.images, faces.target)
    >>> interpolate(clf, faces.images[:2], faces.images[-2:], [0, 0.5, 1]).shape
    (3, 2, 16, 16, 3)
    """
    check_is_fitted(estimator)
    try:
        places = np.asarray(steps, dtype=np.float64)
    except (TypeError, ValueError):
        places = np.array([])
    if places.ndim != 1 or not len(places) or not np.isfinite(places).all():
        raise ValueError(f"steps was expected to be a sequence of finite numbers, but is {steps!r}.")
    first, last = (_latents(estimator, samples) for samples in (start, end))
    if len(first["z1"]) != len(last["z1"]):
        raise ValueError(
            f"start holds {len(first['z1'])} samples and end {len(last['z1'])}. Pass as many of both, in pairs."
        )
    return np.stack([estimator.decode(_between(first, last, place)) for place in places])


def _latents(estimator: "FlowExpressionClassifier", samples: Any) -> dict[str, NDArray[Any]]:
    """Return z1, z2, ... of samples, or of latents that may hold z'1 in the place of z1."""
    if isinstance(samples, Mapping):
        samples = samples if "z1" in samples else estimator.encode(estimator.decode(samples))
    else:
        samples = estimator.encode(samples)
    shapes = [mean.shape[1:] for mean in estimator.class_latents_]
    return named_levels({name: np.asarray(on_cpu(level)) for name, level in samples.items()}, shapes)


def _between(first: dict[str, NDArray[Any]], last: dict[str, NDArray[Any]], place: float) -> dict[str, NDArray[Any]]:
    # A Python float leaves the latents their type, which decides the precision of the inverse.
    return {name: (1 - float(place)) * level + float(place) * last[name] for name, level in first.items()}
