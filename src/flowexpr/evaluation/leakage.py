"""What test rows share with training rows: people, clips, and frames that are nearly the same picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

__all__ = ["LeakCounter"]

THRESHOLD = 0.98
"""Correlation above which two frames count as nearly the same.

On CK+48, 98 % of the frames have a neighbour of their own clip above it, and none has one of another person.
"""
SIDE = 16
"""Side of the small grey pictures that are compared, pixels; of rows, SIDE * SIDE columns at most are."""
FEWEST_VALUES = 16
"""Rows of fewer values are alike by chance, and are not compared."""
COMPARED_AT_ONCE = 2**24
"""Correlations that are held at a time."""
N_EXAMPLES = 5
MEASURES = {
    "images": f"correlation of the pixels of two images, averaged to {SIDE} x {SIDE} grey ones, above {THRESHOLD}",
    "rows": f"correlation of two rows, their columns standardised, above {THRESHOLD}",
    "none": f"not counted: rows of fewer than {FEWEST_VALUES} values",
}


class LeakCounter:
    """Count, protocol by protocol, what stands on both sides of the splits.

    Parameters
    ----------
    X : ndarray of shape (n_samples, H, W), (n_samples, H, W, C) or (n_samples, n_features)
        Images, or rows.
    groups : dict of {"subject", "clip"} to ndarray of shape (n_samples,)
        Integer codes, as far as they are known.
    """

    def __init__(self, X: np.ndarray, groups: dict[str, np.ndarray]) -> None:
        self.groups = groups
        self._pictures: np.ndarray | None
        if X.ndim >= 3:
            self.measure, self._pictures = "images", _unit_rows(_small_pictures(X))
        elif X[0].size >= FEWEST_VALUES and X.dtype.kind in "biuf":
            self.measure, self._pictures = "rows", _unit_rows(_standardised(X))
        else:
            self.measure, self._pictures = "none", None

    def count(self, folds: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
        """Count what the test rows of some folds share with the training rows of theirs.

        Parameters
        ----------
        folds : list of (train, test)
            Row numbers.

        Returns
        -------
        counts : dict
            ``n_tested``, the number of test rows; for both kinds of group that are known, ``shared_subjects``
            (subjects on both sides of some fold), ``rows_of_shared_subjects`` (test rows whose subject is trained
            on), ``shared_clips`` and ``rows_of_shared_clips``; ``near_duplicates``, the test rows with a training
            row that is nearly the same, or None; ``measure``, what that means; ``examples``, the five most similar
            pairs: fold, test and training row, correlation, and whether subject and clip are the same.
        """
        counts: dict[str, Any] = {"n_tested": int(sum(len(test) for _, test in folds))}
        for kind, codes in self.groups.items():
            shared = [np.intersect1d(codes[train], codes[test]) for train, test in folds]
            rows = sum(int(np.isin(codes[test], both).sum()) for (_, test), both in zip(folds, shared, strict=True))
            counts[f"shared_{kind}s"] = len(np.unique(np.concatenate(shared)))
            counts[f"rows_of_shared_{kind}s"] = rows
        nearest = [] if self._pictures is None else [self._nearest(train, test) for train, test in folds]
        near = sum(int((correlation > THRESHOLD).sum()) for _, correlation in nearest)
        counts["near_duplicates"] = None if self._pictures is None else near
        counts["measure"] = MEASURES[self.measure]
        counts["examples"] = self._examples(folds, nearest)
        return counts

    def _nearest(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for every test row, the training row that correlates most, and the correlation."""
        assert self._pictures is not None  # for mypy: asked only where there are some
        known, rows, correlations = self._pictures[train], [], []
        step = max(1, COMPARED_AT_ONCE // len(train))
        for start in range(0, len(test), step):
            table = self._pictures[test[start : start + step]] @ known.T
            best = table.argmax(axis=1)
            rows.append(train[best])
            correlations.append(table[np.arange(len(best)), best])
        return np.concatenate(rows), np.concatenate(correlations)

    def _examples(
        self, folds: list[tuple[np.ndarray, np.ndarray]], nearest: list[tuple[np.ndarray, np.ndarray]]
    ) -> list[dict[str, Any]]:
        pairs: dict[frozenset[int], tuple[float, int, int, int]] = {}
        for fold, ((_, test), (train, correlation)) in enumerate(zip(folds, nearest, strict=False)):
            for i in np.argsort(-correlation, kind="stable")[: 2 * N_EXAMPLES]:
                pair = int(test[i]), int(train[i])
                # The same two rows, the other way round, are no second example.
                pairs.setdefault(frozenset(pair), (float(correlation[i]), fold, *pair))
        best = sorted(pairs.values(), key=lambda pair: -pair[0])[:N_EXAMPLES]
        return [
            {"fold": fold, "test": test, "train": train, "correlation": correlation}
            | {f"same_{kind}": bool(codes[test] == codes[train]) for kind, codes in self.groups.items()}
            for correlation, fold, test, train in best
        ]


def _small_pictures(X: np.ndarray) -> np.ndarray:
    """Average images to (n, SIDE * SIDE) grey values, a thousand at a time."""
    small = []
    for start in range(0, len(X), 1000):
        images = torch.from_numpy(np.nan_to_num(np.array(X[start : start + 1000], dtype=np.float32)))
        grey = images if images.ndim == 3 else images.mean(-1)
        small.append(adaptive_avg_pool2d(grey[:, None], SIDE).flatten(1).numpy())
    return np.concatenate(small)


def _standardised(X: np.ndarray) -> np.ndarray:
    """Standardise columns, evenly chosen where there are many."""
    columns = np.unique(np.linspace(0, X.shape[1] - 1, SIDE * SIDE).astype(int))
    rows = np.nan_to_num(np.asarray(X[:, columns], dtype=np.float32))
    spread = rows.std(axis=0)
    return (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    """Take the mean off every row and bring it to length 1, so that products of rows are correlations."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
