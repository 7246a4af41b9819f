"""FACS action units: which there are, which make an expression, and where each moves the parts of a face.

References
----------
.. [1] Ekman, Friesen & Hager, "Facial Action Coding System", 2002.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowexpr.datasets._people import Person

ACTION_UNITS: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    12: "lip corner puller",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    26: "jaw drop",
}
"""Number and name of every action unit that is drawn."""

EXPRESSIONS: dict[str, tuple[int, ...]] = {
    "happiness": (6, 12),
    "sadness": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
    "fear": (1, 2, 4, 5, 20, 26),
    "anger": (4, 5, 7, 23),
    "disgust": (9, 15, 17),
}
"""Action units of every expression."""

COLUMN = {unit: column for column, unit in enumerate(ACTION_UNITS)}
"""Column of every action unit in an array of intensities."""


@dataclass(frozen=True)
class Side:
    """One side of a face, in face units: x outwards from the midline, y downwards from between the eyes.

    Attributes
    ----------
    brow : ndarray of shape (3, 2)
        Inner end, middle and outer end of the brow.
    upper_lid, lower_lid : float
        Height of the lids above and below the middle of the eye.
    corner : ndarray of shape (2,)
        Corner of the mouth.
    nostril : float
        How far the wing of the nose is raised.
    crow, fold, under_eye : float
        Depth, 0 to 1, of crow's feet, of the fold from nose to mouth and of the line under the eye.
    """

    brow: NDArray[np.float64]
    upper_lid: float
    lower_lid: float
    corner: NDArray[np.float64]
    nostril: float
    crow: float
    fold: float
    under_eye: float


@dataclass(frozen=True)
class Expression:
    """What the action units make of a person's face.

    Attributes
    ----------
    sides : tuple of Side
        The face's right (drawn left) and left side.
    jaw : float
        How far the chin has dropped.
    gap : float
        Distance between the lips.
    upper_lip, lower_lip : float
        Thickness of the lips.
    lip_y : float
        Height of the middle of the mouth.
    frown, nose_wrinkle, chin, forehead : float
        Depth, 0 to 1, of the furrow between the brows and of the wrinkles of nose, chin and forehead.
    """

    sides: tuple[Side, Side]
    jaw: float
    gap: float
    upper_lip: float
    lower_lip: float
    lip_y: float
    frown: float
    nose_wrinkle: float
    chin: float
    forehead: float


def move(person: Person, intensity: NDArray[np.float64]) -> Expression:
    """Return the face of a person under action units of given intensity.

    Parameters
    ----------
    person : Person
        Their neutral face.
    intensity : ndarray of shape (n_au,)
        0 to 1, in the order of `ACTION_UNITS`.

    Returns
    -------
    expression : Expression
        Positions in face units.
    """
    au = {unit: float(intensity[column]) for unit, column in COLUMN.items()}
    right, left = (
        _side(person, {u: a * g for (u, a), g in zip(au.items(), gain, strict=True)}) for gain in person.gain
    )
    smile_opens = person.smile_gap * au[12]
    thin = (1 - 0.6 * au[23]) * (1 - 0.2 * au[12]) * (1 - 0.25 * au[20])
    return Expression(
        sides=(right, left),
        jaw=0.17 * au[26],
        gap=0.26 * au[26] + 0.09 * smile_opens + 0.05 * au[20] * (1 - au[23]),
        upper_lip=person.upper_lip * thin * (1 - 0.25 * au[9]),
        lower_lip=person.lower_lip * thin * (1 + 0.25 * au[17]),
        lip_y=person.mouth_y - 0.035 * au[9] - 0.05 * au[17] - 0.02 * au[12] - 0.02 * au[26],
        frown=max(0.0, au[4] + 0.3 * au[9]),
        nose_wrinkle=au[9],
        chin=au[17],
        forehead=max(au[1], au[2]) * (1 - 0.5 * au[4]),
    )


def _side(person: Person, au: dict[int, float]) -> Side:
    y = person.brow_y
    lower = 0.10 * au[4] + 0.035 * au[9]
    inner = [0.17 - 0.055 * au[4] + person.brow_gap, y + person.brow_tilt - 0.13 * au[1] + lower]
    middle = [0.36, y - person.brow_arch - 0.065 * au[1] - 0.085 * au[2] + 0.8 * lower]
    outer = [0.55, y + 0.03 - person.brow_tilt - 0.11 * au[2] + 0.5 * lower]
    upper = person.eye_open * (1 + 0.6 * au[5] - 0.28 * au[7] - 0.15 * au[6] - 0.2 * au[9])
    below = 0.55 * person.eye_open * (1 - 0.65 * au[6] - 0.55 * au[7] - 0.3 * au[9] + 0.2 * au[5])
    corner_x = person.mouth_w * (1 + 0.22 * au[12] + 0.24 * au[20] - 0.12 * au[23] - 0.12 * au[26])
    corner_y = person.mouth_y + person.mouth_tilt - 0.13 * au[12] + 0.11 * au[15] + 0.02 * au[20] + 0.08 * au[26]
    return Side(
        brow=np.array([inner, middle, outer]),
        upper_lid=max(0.012, upper),
        lower_lid=max(0.006, below),
        corner=np.array([corner_x, corner_y - 0.03 * au[17]]),
        nostril=0.045 * au[9],
        crow=au[6],
        fold=min(1.0, person.fold + 0.7 * au[12] + 0.5 * au[9] + 0.2 * au[15]),
        under_eye=min(1.0, person.bags + 0.6 * au[6] + 0.45 * au[7]),
    )
