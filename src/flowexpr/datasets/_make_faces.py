"""make_faces: a data set of drawn people who show expressions, free of any restriction."""

from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from flowexpr.datasets._action_units import ACTION_UNITS, COLUMN, EXPRESSIONS, move
from flowexpr.datasets._drawing import View, render
from flowexpr.datasets._people import Person, draw_person

__all__ = ["make_faces"]

MASK_THRESHOLD = 8.0
"""A pixel is moved by the action units if a colour changes by more than this many grey levels of 255."""

CAMERA_NOISE = 3.0
"""Standard deviation of the camera's noise, grey levels."""

RESTING_INTENSITY = 0.08
"""Largest intensity of an action unit that an expression does not call for."""


def make_faces(
    n_subjects: int = 29,
    *,
    expressions: int | tuple[str, ...] = 6,
    neutral: bool = False,
    n_clips: int = 2,
    n_frames: int = 4,
    image_size: int = 64,
    min_intensity: float = 0.3,
    return_masks: bool = False,
    random_state: Any = None,
) -> Bunch:
    """Draw people who show expressions made of FACS action units.

    Every person has their own face, style and strength of expression. A clip shows one expression once: its
    action units [1]_ rise and fall over the frames, between `min_intensity` and 1 times the clip's apex; light,
    background and pose are the clip's own.

    Parameters
    ----------
    n_subjects : int, default=29
        Number of people.
    expressions : int or tuple of str, default=6
        The first so many of happiness, sadness, surprise, fear, anger, disgust (2 to 6), or their names.
    neutral : bool, default=False
        Add a class "neutral", of faces at rest.
    n_clips : int, default=2
        Clips of every person and class.
    n_frames : int, default=4
        Frames of a clip.
    image_size : int, default=64
        Height and width, pixels; at least 16.
    min_intensity : float, default=0.3
        Weakest intensity of a frame, as a share of the clip's apex, in (0, 1].
    return_masks : bool, default=False
        Also return which pixels the action units move; takes twice the time.
    random_state : int, RandomState instance or None, default=None
        Source of every draw. With an int the people stay the same whatever the numbers of clips and frames.

    Returns
    -------
    faces : Bunch
        ``images`` (n, H, W, 3) uint8; ``target`` (n,) int, an index into ``target_names``; ``subject`` (n,) int;
        ``clip`` (n,) int, unique over the whole set; ``frame`` (n,) int; ``action_units`` (n, n_au) float64, the
        intensities 0 to 1; ``action_unit_names`` (n_au,), "AU1" and so on; with `return_masks`,
        ``action_unit_mask`` (n, H, W) bool: pixels that differ by more than 8 grey levels from the same frame drawn
        with the face at rest.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.

    References
    ----------
    .. [1] Ekman, Friesen & Hager, "Facial Action Coding System", 2002.

    Examples
    --------
    >>> from flowexpr.datasets import make_faces
    >>> faces = make_faces(2, n_clips=1, n_frames=2, image_size=32, random_state=0)
    >>> faces.images.shape
    (24, 32, 32, 3)
    >>> [str(name) for name in faces.target_names]
    ['anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise']
    """
    names = _class_names(expressions, neutral)
    _check(n_subjects, n_clips, n_frames, image_size, min_intensity)
    image_size = int(image_size)  # numpy's narrow integers overflow
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    columns: dict[str, list[Any]] = {key: [] for key in ("images", "target", "subject", "clip", "frame", "au", "mask")}
    for subject in range(n_subjects):
        person = draw_person(np.random.default_rng([seed, subject]), len(ACTION_UNITS))
        for target, name in enumerate(names):
            for clip in range(n_clips):
                random = np.random.default_rng([seed, subject, _class_key(name), clip])
                frames = _draw_clip(person, name, random, n_frames, image_size, min_intensity, return_masks)
                for frame, (image, intensity, mask) in enumerate(frames):
                    columns["images"].append(image)
                    columns["au"].append(intensity)
                    columns["mask"].append(mask)
                    columns["target"].append(target)
                    columns["subject"].append(subject)
                    columns["clip"].append((subject * len(names) + target) * n_clips + clip)
                    columns["frame"].append(frame)
    faces = Bunch(
        images=np.stack(columns["images"]),
        target=np.array(columns["target"]),
        target_names=np.array(names),
        subject=np.array(columns["subject"]),
        clip=np.array(columns["clip"]),
        frame=np.array(columns["frame"]),
        action_units=np.stack(columns["au"]),
        action_unit_names=np.array([f"AU{unit}" for unit in ACTION_UNITS]),
    )
    if return_masks:
        faces.action_unit_mask = np.stack(columns["mask"])
    return faces


def _class_names(expressions: int | tuple[str, ...], neutral: bool) -> list[str]:
    known = list(EXPRESSIONS)
    if isinstance(expressions, Integral) and not isinstance(expressions, bool):
        if not 2 <= expressions <= len(known):
            raise ValueError(f"expressions={expressions} was expected to be 2 to {len(known)}, or a tuple of names.")
        chosen = known[:expressions]
    else:
        if isinstance(expressions, str):
            chosen = [expressions]
        else:
            chosen = list(expressions) if isinstance(expressions, Iterable) else []
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen or len(set(chosen)) < len(chosen):
            raise ValueError(f"expressions={expressions!r} was expected to hold different names out of {known}.")
    return sorted([*chosen, "neutral"] if neutral else chosen)


def _class_key(name: str) -> int:
    """Return a number for a class that does not depend on which other classes are drawn."""
    return [*EXPRESSIONS, "neutral"].index(name)


def _check(n_subjects: Any, n_clips: Any, n_frames: Any, image_size: Any, min_intensity: Any) -> None:
    for name, value, least in (
        ("n_subjects", n_subjects, 1),
        ("n_clips", n_clips, 1),
        ("n_frames", n_frames, 1),
        ("image_size", image_size, 16),
    ):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}={value!r} was expected to be an integer of at least {least}.")
    if not isinstance(min_intensity, Real) or not 0 < float(min_intensity) <= 1:
        raise ValueError(f"min_intensity={min_intensity!r} was expected to be a number in (0, 1].")


def _draw_clip(
    person: Person,
    name: str,
    random: np.random.Generator,
    n_frames: int,
    image_size: int,
    min_intensity: float,
    with_mask: bool,
) -> list[tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_] | None]]:
    apex = person.strength * random.uniform(0.85, 1.05)
    rest = random.uniform(0, RESTING_INTENSITY, len(ACTION_UNITS))
    style = random.uniform(0.8, 1.0, len(ACTION_UNITS))
    peak = random.uniform(0.35, 0.75)
    start, end = _draw_view(random), _draw_view(random)
    frames = []
    for position in (np.arange(n_frames) + 0.5) / n_frames:
        distance = (position - peak) / (peak if position < peak else 1 - peak)
        envelope = min_intensity + (1 - min_intensity) * np.cos(0.5 * np.pi * distance) ** 2
        intensity = rest.copy()
        for unit in EXPRESSIONS.get(name, ()):
            intensity[COLUMN[unit]] = np.clip(apex * envelope * style[COLUMN[unit]], 0, 1)
        view = _between(start, end, 0.25 * position)
        picture = render(person, move(person, intensity), view, image_size)
        mask = None
        if with_mask:
            at_rest = render(person, move(person, np.zeros_like(intensity)), view, image_size)
            mask = np.abs(picture - at_rest).max(2) > MASK_THRESHOLD
        noise = random.normal(0, CAMERA_NOISE, picture.shape)
        frames.append((np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8), intensity, mask))
    return frames


def _draw_view(random: np.random.Generator) -> View:
    direction = random.uniform(0, 2 * np.pi)
    strength = random.uniform(0.0, 0.3)
    warmth = random.uniform(-0.06, 0.06)
    grey = random.uniform(80, 190)
    red, green, blue = np.clip(grey + random.uniform(-25, 25, 3), 0, 255).astype(int).tolist()
    return View(
        shift=(random.uniform(-0.015, 0.015), 0.02 + random.uniform(-0.012, 0.012)),
        angle=np.radians(random.uniform(-3, 3)),
        size=random.uniform(0.44, 0.47),
        turn=random.uniform(-0.03, 0.03),
        light=(strength * np.cos(direction), strength * np.sin(direction)),
        gain=random.uniform(0.8, 1.1),
        tint=(1 + warmth, 1.0, 1 - warmth),
        background=(red, green, blue),
    )


def _between(start: View, end: View, share: float) -> View:
    """Return a view on the way from one pose to another, under the light of the first."""
    return replace(
        start,
        shift=(
            start.shift[0] + share * (end.shift[0] - start.shift[0]),
            start.shift[1] + share * (end.shift[1] - start.shift[1]),
        ),
        angle=start.angle + share * (end.angle - start.angle),
        size=start.size + share * (end.size - start.size),
        turn=start.turn + share * (end.turn - start.turn),
    )
