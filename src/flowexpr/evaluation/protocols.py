"""The protocols of an evaluation: which rows train, which test, and the check that nothing leaks."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

from flowexpr.labels import check_names

__all__ = ["GROUPED_BY", "PROTOCOLS", "LeakageError", "group_codes", "make_splits", "possible_protocols", "strictest"]

PROTOCOLS = {
    "random": "random folds over all frames (the paper's): the test people, even their clips, are known",
    "clip": "no clip stands on both sides, but the test people are known from other clips",
    "subject": "no subject stands on both sides: every test person is new",
    "loso": "leave one subject out: every test person is new, and all the others are trained on",
}
"""What may be known of the people tested, from the protocol that leaks most to the one that leaks least."""

GROUPED_BY = {"clip": "clip", "subject": "subject", "loso": "subject"}
"""What a protocol keeps on one side of a split."""


CLIP_NAMES = ("auto", "recording", "within subject")
"""What a clip's name may stand for: a recording, whoever is seen; or one of the same person's clips."""


MOST_NAMED = 3
"""Subjects or clips that an error names, at most."""


class LeakageError(ValueError):
    """A subject or clip stands on both sides of a split that promises otherwise."""


def group_codes(
    subject: ArrayLike | None, clip: ArrayLike | None, clip_names: str = "auto"
) -> tuple[dict[str, np.ndarray], str | None]:
    """Return subjects and clips as integers, and what the clips' names stand for, None where it makes no difference.

    "recording": a name that two people share is one recording of both. "within subject": clip 1 of two people is two
    clips. "auto" takes them for the latter if the average person shares more than half of the names with somebody.
    """
    if clip_names not in CLIP_NAMES:
        raise ValueError(f"clip_names was expected to be one of {CLIP_NAMES}, but is {clip_names!r}.")
    codes = {}
    if subject is not None:
        codes["subject"] = _codes("subject", subject)
    if clip is None:
        return codes, None
    codes["clip"] = _codes("clip", clip)
    if subject is None:
        return codes, None
    pairs = np.unique(np.stack([codes["clip"], codes["subject"]]), axis=1)
    n_people = np.bincount(pairs[0])
    if n_people.max() == 1:
        return codes, None
    if clip_names == "auto":
        is_shared = n_people[pairs[0]] > 1
        share = np.bincount(pairs[1], is_shared) / np.bincount(pairs[1])
        clip_names = "within subject" if share.mean() > 0.5 else "recording"
    if clip_names == "within subject":
        codes["clip"] = np.unique(codes["clip"] + codes["subject"] * len(n_people), return_inverse=True)[1]
    return codes, clip_names


def _codes(kind: str, names: ArrayLike) -> np.ndarray:
    """Return the names as integers; each has to be known."""
    return np.unique(check_names(names, f"{kind}=", kind), return_inverse=True)[1]


def possible_protocols(groups: Container[str]) -> list[str]:
    """Return the protocols for which what is known of the rows, of "subject" and "clip", suffices."""
    return [name for name in PROTOCOLS if name not in GROUPED_BY or GROUPED_BY[name] in groups]


def strictest(protocols: Iterable[str]) -> str:
    """Return the protocol that leaks least."""
    return max(protocols, key=list(PROTOCOLS).index)


def make_splits(
    protocol: str,
    y: np.ndarray,
    groups: dict[str, np.ndarray],
    n_splits: int,
    random_state: int,
    names: Mapping[str, ArrayLike] | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the rows of `y` by a protocol into pairs of training and test indices, checked for leaks.

    What leaks is named as in `names`, the subjects and clips as they were given, where they are.
    """
    rows = np.zeros(len(y))
    largest = int(np.unique(y, return_counts=True)[1].max())
    if protocol in ("random", "clip") and n_splits > largest:
        raise ValueError(
            f"the protocol {protocol!r} makes folds of equal shares of the classes: n_splits={n_splits} needs a class "
            f"of as many samples, but the largest has {largest}. Use fewer folds, or leave the protocol out."
        )
    if protocol == "random":
        folds = list(StratifiedKFold(n_splits, shuffle=True, random_state=random_state).split(rows, y))
        _check_classes(protocol, y, folds)
        return folds
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
            _check_disjoint(kind, groups[kind], folds, None if names is None else np.asarray(names[kind]))
    return folds


def _check_classes(protocol: str, y: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
    kind = GROUPED_BY.get(protocol, "row")
    for fold, (train, test) in enumerate(folds):
        if not len(test):
            raise ValueError(
                f"the protocol {protocol!r} leaves no row to test in fold {fold}: a few {kind}s hold most of the rows. "
                "Pass a smaller n_splits, or leave the protocol out."
            )
        present = np.unique(y[train]).tolist()
        if len(present) < 2:
            raise ValueError(
                f"the protocol {protocol!r} leaves training rows of {present[0]!r} alone in fold {fold}. Pass more "
                f"{kind}s of every class, another n_splits, or leave the protocol out."
            )


def _check_disjoint(
    kind: str, codes: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], names: np.ndarray | None
) -> None:
    for fold, (train, test) in enumerate(folds):
        shared = np.intersect1d(codes[train], codes[test])
        if len(shared):
            rows = [int(np.flatnonzero(codes == code)[0]) for code in shared[:MOST_NAMED]]
            such_as = "" if names is None else f" ({', '.join(repr(names[row].item()) for row in rows)})"
            way_out = (
                ' or pass clip_names="within subject" if two people may have a clip of the same name each'
                if kind == "clip"
                else ""
            )
            raise LeakageError(
                f"{len(shared)} {kind}(s){such_as} stand on both sides of fold {fold}, but the folds should be "
                f"disjoint. Check the names in {kind}={way_out}."
            )
