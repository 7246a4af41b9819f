"""Labels, and the names of people and clips: which may come, which are missing, and what they become."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from flowexpr.training.objective import UNLABELLED

__all__ = [
    "as_labels",
    "check_groups",
    "check_lengths",
    "check_names",
    "class_indices",
    "mark_unlabelled",
    "missing_rows",
    "of_their_kinds",
    "on_cpu",
    "split_labels",
    "unboxed",
]


MISSING_LABELS = (
    "Where a label is missing, leave the row out; for a flow, write a value that no class has, and name it: "
    'unlabeled="none", say.'
)


def of_their_kinds(y: Any) -> Any:
    """Return a list of strings and others as objects: numpy would make strings of all of them, of NaN too.

    A tensor, which may have a gradient or be on a GPU, comes back without.
    """
    y = on_cpu(y)
    if not isinstance(y, list | tuple) or len({isinstance(label, str) for label in y}) < 2:
        return y
    missing = missing_rows(y)
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(y)} labels are missing, such as that of row {missing[0]}. {MISSING_LABELS}"
        )
    labels = np.empty(len(y), dtype=object)
    labels[:] = y
    return labels


def as_labels(y: Any) -> NDArray[Any]:
    """Return labels as a vector, every one as it came: also of lists of several kinds, of columns and of tensors."""
    return column_or_1d(of_their_kinds(y), warn=True)


def unboxed(labels: NDArray[Any]) -> NDArray[Any]:
    """Return an array of objects as what they are, strings, numbers or booleans; others as they are."""
    if labels.dtype != object:
        return labels
    if all(isinstance(label, str) for label in labels):
        return labels.astype(str).astype(object)
    return np.array(labels.tolist())


def check_lengths(given_shape: tuple[int, ...], y: Any) -> None:
    """Raise a ValueError where y has another length than X, or is masked; other things scikit-learn's checks find."""
    shape = np.shape(y if isinstance(y, list | tuple) or hasattr(y, "shape") else np.asarray(y))
    if np.ma.is_masked(y):
        raise ValueError(
            f"{np.ma.count_masked(y)} of {np.size(y)} labels are masked, as rejected ones are. Leave these rows out: "
            "X[~y.mask], y.compressed(); or fill them with a value that no class has, and name it: y.filled(-1) and "
            "unlabeled=-1, say."
        )
    is_single = not shape and y is not None and len(given_shape) in (2, 3)
    if is_single or (given_shape and shape and shape[0] != given_shape[0]):
        raise ValueError(
            f"y was expected to hold one label per sample, but X has {given_shape[0]} samples (shape {given_shape}) "
            f"and y has {shape[0] if shape else 'a single label'}. Pass as many labels as samples; a single image "
            "needs a batch axis, X[None]."
        )


def check_groups(given_shape: tuple[int, ...], groups: Any) -> NDArray[Any] | None:
    """Return groups as an array; raise a ValueError where they are not one value per sample, of one kind."""
    if groups is None:
        return None
    groups = on_cpu(groups)
    shape = np.shape(groups)
    if given_shape and shape != given_shape[:1]:
        raise ValueError(
            f"groups was expected to have one entry per sample ({given_shape[0]}), but has "
            f"{shape[0] if len(shape) == 1 else f'shape {shape}'}. Pass the subject of every sample."
        )
    return check_names(groups, "groups", "subject")


def check_names(names: Any, parameter: str, of: str) -> NDArray[Any]:
    """Return names, of subjects or clips, as an array; raise a ValueError where some are missing or of two kinds."""
    names = on_cpu(names)
    found = np.asarray(names)
    missing = missing_rows(names)
    if missing:
        raise ValueError(
            f"{parameter} was expected to name the {of} of every sample, but {len(missing)} of {found.size} names are "
            f"missing, such as that of row {missing[0]}. Give these a {of}, or leave them out."
        )
    kinds = _kinds_of(found)
    if len(kinds) > 1:
        raise ValueError(f"{parameter} was expected to hold values of one kind, but holds {', '.join(kinds)}.")
    return found


def missing_rows(names: Any) -> list[int]:
    """Return which of some names or labels are missing: masked, None, NaN, and pandas' NA and NaT."""
    if np.ma.is_masked(names):
        return [int(i) for i in np.flatnonzero(np.ma.getmaskarray(names))]
    if isinstance(names, np.ndarray) and names.dtype.kind in "biuSU":  # which hold none
        return []
    return [i for i, name in enumerate(np.asarray(names, dtype=object).flat) if _is_missing(name)]


def _is_missing(name: object) -> bool:
    # NA and NaT answer no comparison.
    return name is None or type(name).__name__ in ("NAType", "NaTType") or bool(name != name)


def _kinds_of(names: NDArray[Any]) -> list[str]:
    """Return the sorted types of objects, numpy's strings as Python's; of any other array, whose are of one, none."""
    if names.dtype != object:
        return []
    return sorted({"str" if isinstance(name, str) else type(name).__name__ for name in names.tolist()})


def on_cpu(values: Any) -> Any:
    """Return a tensor, which may have a gradient or be on a GPU, as one that numpy reads; all else as it is."""
    return values.detach().cpu() if hasattr(values, "detach") else values


def mark_unlabelled(y: NDArray[Any], unlabeled: Any) -> NDArray[np.bool_]:
    """Return which labels equal the parameter `unlabeled` (n,); none where that is None."""
    if unlabeled is None:
        return np.zeros(len(y), dtype=bool)
    is_bool = isinstance(unlabeled, bool | np.bool_)  # which equals 0 or 1, but does not mean a class
    equal = [isinstance(one, bool | np.bool_) == is_bool and bool(one == unlabeled) for one in y.tolist()]
    return np.array(equal, dtype=bool)


def split_labels(y: Any, unlabeled: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted classes and the class index of every row, `UNLABELLED` where it equals `unlabeled`.

    Raises
    ------
    ValueError
        If every row is unlabelled, or fewer than two classes are there.
    """
    y = column_or_1d(y, warn=True)
    missing = mark_unlabelled(y, unlabeled)
    _check_kinds(y[~missing], unlabeled)
    if missing.all():
        raise ValueError(
            f"every label equals unlabeled={unlabeled!r}, but at least two classes need labelled rows. "
            "Pass labels for some rows, or another value of unlabeled."
        )
    labels = unboxed(y[~missing])
    check_classification_targets(labels)
    classes, encoded = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"at least two classes were expected, but y has one class only: {classes.tolist()}. "
            "Pass samples of another class too."
        )
    indices = np.full(len(y), UNLABELLED, dtype=np.int64)
    indices[~missing] = encoded
    return classes, indices


def _check_kinds(labels: NDArray[Any], unlabeled: Any) -> None:
    """Raise a ValueError where labels are strings and something else, or hold `unlabeled` as a string."""
    kinds = _kinds_of(labels)
    if "NoneType" in kinds or ("str" in kinds and len(kinds) > 1):
        raise ValueError(f"labels of one kind were expected, but y holds {', '.join(kinds)}. {MISSING_LABELS}")
    if isinstance(unlabeled, str) and labels.dtype.kind in "iufb" and unlabeled in map(str, np.unique(labels).tolist()):
        raise ValueError(
            f"unlabeled={unlabeled!r} is a string, but the labels are numbers. Pass unlabeled={unlabeled}, if that is "
            "what missing labels are."
        )
    is_text = labels.dtype.kind in "US"
    if unlabeled is not None and not isinstance(unlabeled, str) and is_text and str(unlabeled) in labels.tolist():
        raise ValueError(
            f"unlabeled={unlabeled!r} was expected among the labels, but numpy made the string {str(unlabeled)!r} of "
            f"it. Pass y as an array of dtype object, or unlabeled={str(unlabeled)!r}."
        )


def class_indices(classes: NDArray[Any], labels: Any, n: int) -> NDArray[np.int64]:
    """Return the indices (n,) of one label for all samples, or of one each, in the sorted `classes`.

    Raises
    ------
    ValueError
        If a label is unknown, or there are neither one nor n.
    """
    given = np.broadcast_to(np.asarray(labels), (n,)) if np.ndim(labels) == 0 else np.asarray(labels)
    if given.shape != (n,):
        raise ValueError(f"one label or {n} were expected, but came an array of shape {given.shape}.")
    unknown = sorted(set(given.tolist()) - set(classes.tolist()), key=str)
    if unknown:
        raise ValueError(f"unknown label {unknown[0]!r}. Pass one of {classes.tolist()}.")
    return np.searchsorted(classes, given).astype(np.int64)
