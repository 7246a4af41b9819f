"""Whether latents cluster by person, by expression, or by expression within a person, as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import pairwise_distances_chunked, silhouette_score
from sklearn.utils import check_consistent_length

from flowexpr.evaluation.protocols import group_codes

__all__ = ["cluster_scores"]


def cluster_scores(
    points: ArrayLike, y: ArrayLike, *, subject: ArrayLike, clip: ArrayLike | None = None
) -> list[dict[str, Any]]:
    """Measure how points cluster by subject, by expression, and by expression within every subject.

    The paper's claim about its Figure 2 is a cluster a subject with the expressions apart inside each: high scores by
    subject and by expression within subject, a low one by expression.

    Parameters
    ----------
    points : array-like of shape (n_samples, n_values)
        Latents, deep features, pixels, or places on a map.
    y : array-like of shape (n_samples,)
        Expressions.
    subject : array-like of shape (n_samples,)
        Who is seen.
    clip : array-like of shape (n_samples,) or None, default=None
        The recording, unique within a subject. Frames of one clip are then no neighbours of each other: they are
        nearly the same picture, and alike in any representation.

    Returns
    -------
    rows : list of dict
        Three, whose ``groups`` are "subject", "expression" and "expression within subject": ``silhouette`` [1]_, from
        -1 (in the wrong cluster) over 0 to 1, None where there are not at least two groups; ``purity``, the share of
        points whose nearest neighbour is of the same group, among points that may have one (None where none may);
        ``chance``, that share for neighbours taken at random.
        Within subjects, all three are means over the subjects that show at least two expressions.

    Raises
    ------
    ValueError
        If lengths differ, or a subject or clip has no name where clips are given.

    Notes
    -----
    Time grows with the square of the number of points, memory does not: distances are made and used in chunks of
    scikit-learn's ``working_memory``.

    References
    ----------
    .. [1] Rousseeuw, "Silhouettes: A graphical aid to the interpretation and validation of cluster analysis", 1987,
       https://doi.org/10.1016/0377-0427(87)90125-7

    Examples
    --------
    >>> from flowexpr.evaluation import cluster_scores
    >>> points = [[0, 0], [0, 1], [0, 4], [0, 5], [9, 0], [9, 1], [9, 4], [9, 5]]
    >>> rows = cluster_scores(points, ["joy", "joy", "fear", "fear"] * 2, subject=[1] * 4 + [2] * 4)
    >>> [(row["groups"], row["purity"], round(row["chance"], 2)) for row in rows]
    [('subject', 1.0, 0.43), ('expression', 1.0, 0.43), ('expression within subject', 1.0, 0.33)]
    """
    check_consistent_length(points, y, subject, clip)
    rows = np.asarray(points, dtype=np.float64).reshape(len(np.asarray(points)), -1)
    y, subject = np.asarray(y), np.asarray(subject)
    # A number that frames of one recording share; where none is told, each point is one of its own.
    recording = np.arange(len(rows)) if clip is None else group_codes(subject, clip, "within subject")[0]["clip"]
    of_subject = []
    for name in np.unique(subject):
        own = subject == name
        if len(np.unique(y[own])) > 1:
            of_subject.append(_scores(rows[own], recording[own], y[own]))
    within = {key: _mean([scores[key] for scores in of_subject]) for key in ("silhouette", "purity", "chance")}
    return [
        {"groups": "subject", **_scores(rows, recording, subject)},
        {"groups": "expression", **_scores(rows, recording, y)},
        {"groups": "expression within subject", **within},
    ]


def _scores(rows: np.ndarray, recording: np.ndarray, groups: np.ndarray) -> dict[str, float | None]:
    """Score one grouping of points (n, n_values); of one recording no two are neighbours. Distances go in chunks."""
    n_groups = len(np.unique(groups))
    scores: dict[str, float | None] = {"silhouette": None, "purity": None, "chance": None}
    if 2 <= n_groups < len(groups):
        scores["silhouette"] = float(silhouette_score(rows, groups))

    def look(distance: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        own = slice(start, start + len(distance))
        apart = recording[own, None] != recording
        distance[~apart] = np.inf
        nearest = distance.argmin(axis=1)
        return groups[nearest] == groups[own], ((groups[own, None] == groups) & apart).sum(1), apart.sum(1)

    found = zip(*pairwise_distances_chunked(rows, reduce_func=look), strict=True)
    pure, n_same, n_apart = (np.concatenate(parts) for parts in found)
    known = n_same > 0
    if known.any():
        scores |= {"purity": float(pure[known].mean()), "chance": float((n_same[known] / n_apart[known]).mean())}
    return scores


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
