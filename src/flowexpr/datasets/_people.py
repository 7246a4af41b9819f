"""People that do not exist: everything about a drawn person that no expression changes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

SKINS = ((255, 224, 196), (241, 194, 158), (224, 172, 130), (198, 134, 94), (150, 98, 66), (104, 66, 44), (78, 50, 36))
HAIRS = ((24, 20, 20), (58, 38, 26), (104, 68, 40), (150, 104, 58), (206, 172, 112), (126, 50, 30), (150, 150, 150))
IRISES = ((66, 44, 28), (92, 64, 36), (70, 96, 64), (74, 108, 140), (92, 104, 112))
CLOTHES = ((46, 66, 110), (120, 48, 54), (64, 96, 72), (92, 92, 98), (196, 188, 172), (44, 44, 50))


@dataclass(frozen=True)
class Person:
    """A drawn person; lengths in face units (half the height of a head), y downwards from between the eyes.

    Attributes
    ----------
    gain : ndarray of shape (2, n_au)
        How strongly each action unit moves the right and the left side: personal style and asymmetry.
    strength : float
        How strongly this person shows what they feel.
    """

    gain: NDArray[np.float64]
    strength: float
    head_w: float
    jaw_w: float
    chin_y: float
    eye_x: float
    eye_w: float
    eye_open: float
    eye_tilt: float
    brow_y: float
    brow_arch: float
    brow_tilt: float
    brow_gap: float
    brow_thick: float
    nose_y: float
    nose_w: float
    mouth_y: float
    mouth_w: float
    mouth_tilt: float
    upper_lip: float
    lower_lip: float
    smile_gap: float
    fold: float
    bags: float
    skin: Colour
    lips: Colour
    hair: Colour
    brow_colour: Colour
    iris: Colour
    clothes: Colour
    hair_style: str
    hair_line: float
    parting: float
    beard: str
    glasses: str


def draw_person(random: np.random.Generator, n_action_units: int) -> Person:
    """Draw a person at random.

    Parameters
    ----------
    random : numpy.random.Generator
        Source of every draw.
    n_action_units : int
        Number of action units that `gain` is about.
    """
    skin = _vary(SKINS[random.integers(len(SKINS))], random, 10)
    hair = _vary(HAIRS[random.integers(len(HAIRS))], random, 12)
    style_gain = random.uniform(1.03, 1.36, n_action_units)
    red = np.array([0.86, 0.60, 0.60]) if sum(skin) > 380 else np.array([1.08, 0.78, 0.80])
    masculine = random.random() < 0.5
    return Person(
        gain=style_gain * random.uniform(0.93, 1.05, (2, n_action_units)),
        strength=random.uniform(0.9, 1.15),
        head_w=random.uniform(0.71, 0.77),
        jaw_w=random.uniform(0.695, 0.845),
        chin_y=random.uniform(0.95, 1.01),
        eye_x=random.uniform(0.33, 0.36),
        eye_w=random.uniform(0.155, 0.175),
        eye_open=random.uniform(0.071, 0.089),
        eye_tilt=random.uniform(-0.0075, 0.0175),
        brow_y=random.uniform(-0.2775, -0.2325),
        brow_arch=random.uniform(0.01875, 0.04625),
        brow_tilt=random.uniform(-0.015, 0.025),
        brow_gap=random.uniform(-0.0075, 0.0175),
        brow_thick=random.uniform(0.0365, 0.0535),
        nose_y=random.uniform(0.29, 0.33),
        nose_w=random.uniform(0.11, 0.17),
        mouth_y=random.uniform(0.5775, 0.6125),
        mouth_w=random.uniform(0.24, 0.28),
        mouth_tilt=random.uniform(-0.01375, 0.01875),
        upper_lip=random.uniform(0.03875, 0.05625),
        lower_lip=random.uniform(0.05125, 0.07375),
        smile_gap=float(random.random() < 0.6) * random.uniform(0.4, 1.0),
        fold=random.uniform(0.0, 0.4),
        bags=random.uniform(0.0, 0.4),
        skin=skin,
        lips=_to_colour(np.array(skin) * red * random.uniform(0.92, 1.08)),
        hair=hair,
        brow_colour=_to_colour(np.array(hair) * 0.75 + 0.08 * np.array(skin)),
        iris=IRISES[random.integers(len(IRISES))],
        clothes=_vary(CLOTHES[random.integers(len(CLOTHES))], random, 20),
        hair_style=str(
            random.choice(["short", "side", "curly", "bald"] if masculine else ["long", "bob", "fringe", "bun"])
        ),
        hair_line=random.uniform(-0.66, -0.52),
        parting=random.uniform(-0.35, 0.35),
        beard=str(random.choice(["none", "none", "moustache", "full", "stubble"])) if masculine else "none",
        glasses=str(random.choice(["none", "none", "none", "round", "square"])),
    )


def _vary(colour: Colour, random: np.random.Generator, amount: float) -> Colour:
    return _to_colour(np.array(colour) + random.uniform(-amount, amount) + random.uniform(-amount / 3, amount / 3, 3))


def _to_colour(values: NDArray[np.float64]) -> Colour:
    red, green, blue = np.clip(values, 0, 255).astype(int).tolist()
    return red, green, blue
