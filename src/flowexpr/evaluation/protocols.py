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


MOSTLY = 0.9
"""Share of the clips' names that belong to one person each, from which on names are those of recordings."""


class LeakageError(ValueError):
    """A subject or clip stands on both sides of a split that promises otherwise."""


def group_codes(subject: ArrayLike | None, clip: ArrayLike | None) -> dict[str, np.ndarray]:
    """Subjects and clips as integers; clip 1 of two people is two clips.

    Unless nearly every clip's name belongs to one person: then names are of recordings, and one that two people share
    is one recording of both.
    """
    codes = {}
    if subject is not None:
        codes["subject"] = _codes("subject", subject)
    if clip is not None:
        codes["clip"] = _codes("clip", clip)
        if subject is not None:
            pairs = np.unique(np.stack([codes["clip"], codes["subject"]]), axis=1)
            n_people = np.bincount(pairs[0])
            if np.mean(n_people == 1) < MOSTLY:
                both = codes["clip"] + codes["subject"] * len(n_people)
                codes["clip"] = np.unique(both, return_inverse=True)[1]
    return codes


def _codes(kind: str, names: ArrayLike) -> np.ndarray:
    """Return the names as integers; each has to be known."""
    given = np.asarray(names)
    missing = [i for i, name in enumerate(given.tolist()) if name is None or name != name]
    if missing:
        raise ValueError(
            f"{kind}= was expected to name one {kind} an image, but {len(missing)} of {len(given)} names are missing, "
            f"such as that of row {missing[0]}. Fill them in, or leave those images out."
        )
    return np.unique(given, return_inverse=True)[1]


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
