"""Person baselines: how a face differs from the neutral face of the same person, in latent space."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowexpr.exceptions import some
from flowexpr.labels import check_groups, on_cpu

__all__ = ["neutral_latents"]


def neutral_latents(
    z1: NDArray[np.floating],
    groups: ArrayLike | None,
    neutral: ArrayLike | Mapping[Any, ArrayLike],
    encode: Callable[[ArrayLike], NDArray[np.floating]],
) -> NDArray[np.floating]:
    """Return for every sample the mean z1 of the neutral images of its person.

    Parameters
    ----------
    z1 : ndarray of shape (n, d)
        Deepest latents of the samples.
    groups : array-like of shape (n,) or None
        The person of every sample.
    neutral : array-like of bool of shape (n,), or mapping of person to images
        Which of the samples are neutral; or neutral images of every person.
    encode : callable
        Maps images to their z1, (n, ...).

    Raises
    ------
    ValueError
        If groups are missing or of another length, `neutral` is neither of the two, or a person has no neutral image.
    """
    people = np.asarray(on_cpu(groups))
    if people.shape != (len(z1),):
        raise ValueError(
            f"neutral needs groups with the person of each of the {len(z1)} samples, but groups "
            f"{'is None' if groups is None else f'has shape {people.shape}'}. Pass the subjects as groups."
        )
    check_groups(people.shape, groups)
    known, person = np.unique(people, return_inverse=True)
    if isinstance(neutral, Mapping):
        _check_everybody(known, [_holds_images(neutral.get(name)) for name in known.tolist()], neutral)
        if np.ndim(neutral[known.tolist()[0]]) < 2:
            raise ValueError(
                "neutral was expected to hold the images of each person, but holds a row of numbers. Pass X[rows]."
            )
        means = [encode(neutral[name]).mean(0).ravel() for name in known.tolist()]
        return np.stack(means)[person]
    marked = np.asarray(on_cpu(neutral))
    if marked.shape != people.shape or marked.dtype != np.bool_:
        raise ValueError(
            f"neutral was expected to be {len(z1)} booleans, or a dict of person to images, but has dtype "
            f"{marked.dtype} and shape {marked.shape}. Pass y == 'neutral', say."
        )
    _check_everybody(known, np.isin(known, people[marked]).tolist())
    return np.stack([z1[marked & (people == name)].mean(0) for name in known])[person]


def _holds_images(images: Any) -> bool:
    return images is not None and len(images) > 0


def _check_everybody(known: NDArray[Any], found: list[bool], given: Mapping[Any, Any] | None = None) -> None:
    missing = known[~np.array(found, dtype=bool)].tolist()
    if missing:
        named = "" if given is None else f" (neutral names {some([repr(name) for name in given])})"
        raise ValueError(
            f"a neutral image of everybody was expected, but {len(missing)} of {len(known)} have none: "
            f"{some([repr(name) for name in missing])}{named}. Leave these people out, or pass neutral images of them."
        )
