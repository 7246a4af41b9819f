"""The protocols of an evaluation: which rows train, which test, and the check that nothing leaks."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

__all__ = ["GROUPED_BY", "PROTOCOLS", "LeakageError", "group_codes", "make_splits", "possible_protocols"]

PROTOCOLS = {
    "random": "random folds over all frames (the paper's): the test people, even their clips, are known",
    "clip": "no clip stands on both sides, but the test people are known from other clips",
    "subject": "no subject stands on both sides: every test person is new",
    "loso": "leave one subject out: every test person is new, and all the others are trained on",
}
GROUPED_BY = {"clip": "clip", "subject": "subject", "loso": "subject"}
"""What a protocol keeps on one side of a split."""


class LeakageError(ValueError):
    """A subject or clip stands on both sides of a split that promises otherwise."""


def group_codes(subject: ArrayLike | None, clip: ArrayLike | None) -> dict[str, np.ndarray]:
    """Subjects and clips as integers; clip 1 of two people is two clips."""
    codes = {}
    if subject is not None:
        codes["subject"] = np.unique(np.asarray(subject), return_inverse=True)[1]
    if clip is not None:
        names, inverse = np.unique(np.asarray(clip), return_inverse=True)
        pairs = inverse + codes.get("subject", np.zeros_like(inverse)) * len(names)
        codes["clip"] = np.unique(pairs, return_inverse=True)[1]
    return codes


def possible_protocols(groups: Container[str]) -> list[str]:
    """Return the protocols for which what is known of the rows, of "subject" and "clip", suffices."""
    return [name for name in PROTOCOLS if name not in GROUPED_BY or GROUPED_BY[name] in groups]


def make_splits(
    protocol: str, y: np.ndarray, groups: dict[str, np.ndarray], n_splits: int, random_state: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the rows of `y` by a protocol into pairs of training and test indices, checked for leaks."""
    rows = np.zeros(len(y))
    if protocol == "random":
        splitter = StratifiedKFold(n_splits, shuffle=True, random_state=random_state)
        return list(splitter.split(rows, y))
    splitters = {
        # Clips are often numbered expression by expression: dealt out in order, a fold could hold all of one class.
        "clip": StratifiedGroupKFold(n_splits, shuffle=True, random_state=random_state),
        "subject": GroupKFold(n_splits),
        "loso": LeaveOneGroupOut(),
    }
    kind = GROUPED_BY[protocol]
    folds = list(splitters[protocol].split(rows, y, groups[kind]))
    _check_classes(protocol, y, folds)
    # Subject-disjoint folds promise disjoint clips too; clip-disjoint folds promise nothing about subjects.
    promised = ("subject", "clip") if kind == "subject" else ("clip",)
    for kind in promised:
        if kind in groups:
            _check_disjoint(kind, groups[kind], folds)
    return folds


def _check_classes(protocol: str, y: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for fold, (train, _) in enumerate(folds):
        present = np.unique(y[train]).tolist()
        if len(present) < 2:
            raise ValueError(
                f"the protocol {protocol!r} leaves training rows of {present[0]!r} alone in fold {fold}. Pass more "
                f"{GROUPED_BY[protocol]}s of every class, another n_splits, or leave the protocol out."
            )


def _check_disjoint(kind: str, codes: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for fold, (train, test) in enumerate(folds):
        shared = np.intersect1d(codes[train], codes[test])
        if len(shared):
            raise LeakageError(
                f"{len(shared)} {kind}(s) stand on both sides of fold {fold}, but the folds should be "
                f"disjoint. Check the names in {kind}=."
            )
