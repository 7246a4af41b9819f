"""Draws a person's face with Pillow, several times larger than asked for, and shrinks it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from flowexpr.datasets._action_units import Expression, Side
from flowexpr.datasets._people import Colour, Person

Points = NDArray[np.float64]

SMALLEST_CANVAS = 128
LARGEST_OVERSAMPLING = 3
DARK = (38, 14, 18)
TEETH = (238, 232, 222)
SCLERA = (240, 238, 234)


@dataclass(frozen=True)
class View:
    """Where the head is and how it is lit in one frame.

    Attributes
    ----------
    shift : tuple of float
        Of the head, as a share of the image's side.
    angle : float
        Rotation, radians.
    size : float
        Half the height of the head, as a share of the image's side.
    turn : float
        Turn to the side: how far the parts of the face move, in face units.
    light : tuple of float
        Direction the light comes from (x, y), its length the strength.
    gain : float
        Brightness.
    tint : tuple of float
        Gain of red, green and blue.
    background : tuple of int
        Colour behind the head.
    """

    shift: tuple[float, float]
    angle: float
    size: float
    turn: float
    light: tuple[float, float]
    gain: float
    tint: tuple[float, float, float]
    background: Colour


def render(person: Person, expression: Expression, view: View, image_size: int) -> NDArray[np.float32]:
    """Return a picture, (image_size, image_size, 3) float32 within 0..255, without camera noise."""
    side = max(SMALLEST_CANVAS, LARGEST_OVERSAMPLING * image_size)
    side = image_size * -(-side // image_size)
    pen = _Pen(view, side)
    _draw_behind(pen, person)
    _draw_head(pen, person, expression)
    for sign, half in zip((-1, 1), expression.sides, strict=True):
        _draw_eye(pen, person, half, sign)
    _draw_nose(pen, person, expression)
    _draw_beard(pen, person, expression)
    _draw_mouth(pen, person, expression)
    _draw_wrinkles(pen, person, expression)
    for sign, half in zip((-1, 1), expression.sides, strict=True):
        _draw_brow(pen, person, half, sign)
    _draw_glasses(pen, person)
    _draw_hair(pen, person)
    picture = np.asarray(pen.image.reduce(side // image_size), dtype=np.float32)
    return _light(picture, view)


class _Pen:
    """Draws in face units: turns, scales and shifts points onto the canvas."""

    def __init__(self, view: View, side: int) -> None:
        self.image = Image.new("RGB", (side, side), view.background)
        self.draw = ImageDraw.Draw(self.image)
        self.scale = view.size * side
        cos, sin = np.cos(view.angle), np.sin(view.angle)
        self.matrix = self.scale * np.array([[cos, sin], [-sin, cos]])
        self.origin = side * (0.5 + np.array(view.shift))
        self.turn = view.turn

    def _place(self, points: Points, depth: float) -> list[float]:
        moved = np.asarray(points, dtype=np.float64) + [self.turn * depth, 0.0]
        return (moved @ self.matrix + self.origin).ravel().tolist()

    def fill(self, points: Points, colour: Colour, depth: float = 1.0) -> None:
        self.draw.polygon(self._place(points, depth), fill=colour)

    def line(self, points: Points, colour: Colour, width: float, depth: float = 1.0) -> None:
        pixels = max(1, round(width * self.scale))
        self.draw.line(self._place(points, depth), fill=colour, width=pixels, joint="curve")

    def disc(self, centre: ArrayLike, radius: float, colour: Colour, depth: float = 1.0) -> None:
        x, y = self._place(np.array([centre]), depth)
        r = radius * self.scale
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


_T = np.linspace(0, 1, 15)[:, None]
_ANGLES = np.linspace(0, 2 * np.pi, 41)[:-1]


def _curve(start: ArrayLike, control: ArrayLike, end: ArrayLike) -> Points:
    """Return a quadratic Bezier curve through 15 points; `control` is where it would pass if doubled back."""
    a, b, c = (np.asarray(p, dtype=np.float64) for p in (start, control, end))
    return (1 - _T) ** 2 * a + 2 * _T * (1 - _T) * b + _T**2 * c


def _through(start: ArrayLike, middle: ArrayLike, end: ArrayLike) -> Points:
    """Return a quadratic curve that passes through `middle` half way."""
    a, m, c = (np.asarray(p, dtype=np.float64) for p in (start, middle, end))
    return _curve(a, 2 * m - 0.5 * (a + c), c)


def _ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    return np.stack([x + rx * np.cos(_ANGLES), y + ry * np.sin(_ANGLES)], 1)


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _darker(colour: Colour, share: float) -> Colour:
    """Return skin in shadow: darker, and a little redder."""
    return _mixed(colour, (round(0.36 * colour[0]), round(0.26 * colour[1]), round(0.24 * colour[2])), share)


def _outline(person: Person, jaw: float) -> Points:
    """Return the outline of the head; the chin has dropped by `jaw`."""
    x, y = np.sin(_ANGLES), -np.cos(_ANGLES)
    low = np.clip(y, 0, 1)
    width = person.head_w * (1 - (1 - person.jaw_w) * low**1.5)
    bottom = person.chin_y + jaw
    height = np.where(y > 0, bottom * np.abs(y) ** 0.92, 0.98 * y)
    return np.stack([width * np.sign(x) * np.abs(x) ** 0.86, height], 1)


def _draw_behind(pen: _Pen, person: Person) -> None:
    if person.hair_style in ("long", "bob"):
        bottom = 1.35 if person.hair_style == "long" else 0.75
        width = person.head_w + 0.16
        pen.fill(_ellipse(0, -0.28, width, 0.86), person.hair, 0.3)
        pen.fill(
            np.array([[-width, -0.3], [width, -0.3], [width + 0.04, bottom], [-width - 0.04, bottom]]), person.hair, 0.3
        )
    if person.hair_style == "bun":
        pen.disc((0, -1.02), 0.26, _darker(person.hair, 0.2), 0.2)
    neck = 0.36 + 0.25 * (person.jaw_w - 0.62)
    pen.fill(_ellipse(0, 1.75, 1.25, 0.62), person.clothes, 0.0)
    skin = _darker(person.skin, 0.25)
    pen.fill(np.array([[-neck, 0.5], [neck, 0.5], [neck + 0.05, 1.25], [0, 1.45], [-neck - 0.05, 1.25]]), skin, 0.2)
    for sign in (-1, 1):
        ear = _ellipse(sign * (person.head_w + 0.02), 0.08, 0.09, 0.17)
        pen.fill(ear, _darker(person.skin, 0.12), 0.1)
        pen.fill(_ellipse(sign * (person.head_w + 0.03), 0.08, 0.045, 0.10), _darker(person.skin, 0.3), 0.1)


def _draw_head(pen: _Pen, person: Person, expression: Expression) -> None:
    outline = _outline(person, expression.jaw)
    pen.fill(outline, _darker(person.skin, 0.22), 0.3)
    pen.fill(outline * [0.965, 0.975], _darker(person.skin, 0.08), 0.35)
    pen.fill(outline * [0.90, 0.93], person.skin, 0.45)
    for sign, half in zip((-1, 1), expression.sides, strict=True):
        lift = 0.06 * half.crow
        blush = _mixed(person.skin, person.lips, 0.16 + 0.14 * half.crow)
        pen.fill(_ellipse(sign * 0.40, 0.30 - lift, 0.17, 0.12), blush)
        pen.fill(_ellipse(sign * person.eye_x, -0.03, person.eye_w + 0.05, 0.12), _darker(person.skin, 0.13))


def _draw_eye(pen: _Pen, person: Person, half: Side, sign: int) -> None:
    x, width, tilt = person.eye_x, person.eye_w, person.eye_tilt
    inner, outer = np.array([x - width, 0.01 + tilt]), np.array([x + width, -tilt])
    upper = _through(inner, (x - 0.01, -half.upper_lid), outer) * [sign, 1]
    lower = _through(inner, (x + 0.01, half.lower_lid), outer) * [sign, 1]
    skin, crease = person.skin, _darker(person.skin, 0.35)
    pen.fill(np.concatenate([upper, lower[::-1]]), SCLERA)
    iris = (sign * x, -0.012)
    radius = 0.45 * width
    pen.disc(iris, radius, person.iris)
    pen.disc(iris, 0.5 * radius, (12, 10, 10))
    pen.disc((iris[0] - 0.022, iris[1] - 0.025), 0.2 * radius, (250, 250, 250))
    # The lids cover what of the iris reaches beyond them.
    brim = _through(inner, (x, -0.125), outer) * [sign, 1]
    pen.fill(np.concatenate([upper, brim[::-1]]), _darker(skin, 0.12))
    bag = _through(inner, (x, 0.115), outer) * [sign, 1]
    pen.fill(np.concatenate([lower, bag[::-1]]), _darker(skin, 0.07))
    fold = _through(inner + [0.01, -0.03], (x, -half.upper_lid - 0.035), outer + [0.0, -0.03]) * [sign, 1]
    pen.line(fold, crease, 0.012)
    pen.line(lower, _darker(skin, 0.30), 0.012)
    pen.line(upper, _mixed(DARK, person.hair, 0.3), 0.028)
    pen.line(np.array([outer, outer + [0.035, -0.02]]) * [sign, 1], DARK, 0.018)
    if half.under_eye > 0.02:
        line = _through((x - 0.8 * width, 0.05), (x, 0.085 + 0.02 * half.under_eye), (x + width, 0.03)) * [sign, 1]
        pen.line(line, _darker(skin, 0.45 * half.under_eye), 0.016)


def _draw_brow(pen: _Pen, person: Person, half: Side, sign: int) -> None:
    inner, middle, outer = half.brow
    thick = person.brow_thick
    above = _through(inner - [0, thick], middle - [0, 0.9 * thick], outer - [0, 0.2 * thick])
    below = _through(inner + [0, 0.6 * thick], middle + [0, 0.3 * thick], outer + [0, 0.1 * thick])
    pen.fill(np.concatenate([above, below[::-1]]) * [sign, 1], person.brow_colour)


def _draw_nose(pen: _Pen, person: Person, expression: Expression) -> None:
    y, width = person.nose_y, person.nose_w
    shade = _darker(person.skin, 0.28)
    lift = 0.5 * (expression.sides[0].nostril + expression.sides[1].nostril)
    pen.fill(_ellipse(0, y - 0.03 - 0.5 * lift, 0.6 * width, 0.07), _mixed(person.skin, (255, 255, 255), 0.12), 1.3)
    pen.line(_through((0.055, -0.05), (0.045, 0.12), (0.6 * width, y - 0.06)), _darker(person.skin, 0.17), 0.02, 1.2)
    for sign, half in zip((-1, 1), expression.sides, strict=True):
        wing_y = y - half.nostril
        wing = _through(
            (sign * 0.55 * width, wing_y - 0.09), (sign * width, wing_y - 0.02), (sign * 0.6 * width, wing_y + 0.03)
        )
        pen.line(wing, shade, 0.022, 1.2)
        pen.fill(_ellipse(sign * 0.48 * width, wing_y + 0.022, 0.034, 0.02), _darker(person.skin, 0.75), 1.2)
    pen.line(
        _through((-0.5 * width, y + 0.03 - lift), (0, y + 0.06 - lift), (0.5 * width, y + 0.03 - lift)),
        shade,
        0.02,
        1.2,
    )


def _draw_mouth(pen: _Pen, person: Person, expression: Expression) -> None:
    right, left = (half.corner * [sign, 1] for sign, half in zip((-1, 1), expression.sides, strict=True))
    y, gap = expression.lip_y, expression.gap
    top_in, low_in = y - 0.35 * gap, y + 0.65 * gap
    low_in += 0.3 * expression.jaw
    upper_in = _through(right, (0, top_in), left)
    lower_in = _through(right, (0, low_in), left)
    bow = 0.25 * expression.upper_lip
    upper_out = np.concatenate(
        [
            _through(
                right,
                (0.55 * right[0], 0.45 * right[1] + 0.55 * top_in - expression.upper_lip),
                (-0.045, top_in - expression.upper_lip),
            ),
            [[0, top_in - expression.upper_lip + bow]],
            _through(
                (0.045, top_in - expression.upper_lip),
                (0.55 * left[0], 0.45 * left[1] + 0.55 * top_in - expression.upper_lip),
                left,
            ),
        ]
    )
    lower_out = _through(right, (0, low_in + expression.lower_lip), left)
    pen.fill(np.concatenate([upper_in, lower_in[::-1]]), DARK)
    if gap > 0.015:
        _draw_teeth(pen, upper_in, gap)
    pen.fill(np.concatenate([upper_out, upper_in[::-1]]), _darker(person.lips, 0.12))
    pen.fill(np.concatenate([lower_in, lower_out[::-1]]), person.lips)
    pen.line(upper_in, _darker(person.lips, 0.7), 0.014)
    if gap > 0.015:
        pen.line(lower_in, _darker(person.lips, 0.45), 0.012)
    shadow = _through(
        (-0.10, low_in + expression.lower_lip + 0.035),
        (0, low_in + expression.lower_lip + 0.05),
        (0.10, low_in + expression.lower_lip + 0.035),
    )
    pen.line(shadow, _darker(person.skin, 0.22 + 0.2 * expression.chin), 0.024)
    for corner in (right, left):
        pen.disc(corner, 0.014, _darker(person.skin, 0.5))


def _draw_teeth(pen: _Pen, upper_in: Points, gap: float) -> None:
    inner = upper_in[2:-2]
    height = min(0.055, 0.8 * gap)
    depth = height * np.sin(np.linspace(0, np.pi, len(inner)))[:, None] ** 0.5
    pen.fill(np.concatenate([inner, (inner + depth * [0, 1])[::-1]]), TEETH)


def _draw_beard(pen: _Pen, person: Person, expression: Expression) -> None:
    if person.beard == "none":
        return
    y, jaw = expression.lip_y, expression.jaw
    hair = person.hair if person.beard != "stubble" else _mixed(person.skin, person.hair, 0.3)
    right, left = (half.corner * [sign, 1] for sign, half in zip((-1, 1), expression.sides, strict=True))
    if person.beard in ("full", "stubble"):
        outline = _outline(person, jaw)
        low = outline[outline[:, 1] > 0.30]
        low = low[np.argsort(low[:, 0])] * [0.985, 1.0]
        width = low[-1, 0]
        # From ear to ear below the cheeks, and up to the moustache beside the mouth.
        inside = np.concatenate(
            [
                _through((0.93 * width, 0.32), (0.62 * width, 0.60), (1.15 * left[0], y + 0.02)),
                _through((1.15 * left[0], y + 0.02), (0, y + 0.05), (1.15 * right[0], y + 0.02)),
                _through((1.15 * right[0], y + 0.02), (-0.62 * width, 0.60), (-0.93 * width, 0.32)),
            ]
        )
        pen.fill(np.concatenate([low, inside]), hair, 0.6)
    top = y - 0.35 * expression.gap - expression.upper_lip
    above = _through(right * [1.15, 1] + [0, 0.02], (0, top - 0.12), left * [1.15, 1] + [0, 0.02])
    below = _through(right, (0, top + 0.02), left)
    pen.fill(np.concatenate([above, below[::-1]]), hair)


def _draw_wrinkles(pen: _Pen, person: Person, expression: Expression) -> None:
    skin = person.skin
    for sign, half in zip((-1, 1), expression.sides, strict=True):
        if half.fold > 0.03:
            start = (sign * (person.nose_w + 0.02), person.nose_y - half.nostril)
            end = (half.corner[0] * sign * 1.14, half.corner[1] + 0.02)
            middle = (sign * (0.5 * (abs(start[0]) + abs(end[0])) + 0.045), 0.45 * start[1] + 0.55 * end[1] - 0.03)
            pen.line(_through(start, middle, end), _darker(skin, 0.42 * half.fold), 0.02)
        if half.crow > 0.1:
            edge = person.eye_x + person.eye_w + 0.03
            for angle in (-0.05, 0.02, 0.08):
                line = np.array([[sign * edge, 0.3 * angle], [sign * (edge + 0.09), 1.1 * angle + 0.01]])
                pen.line(line, _darker(skin, 0.45 * half.crow), 0.014)
    if expression.frown > 0.1:
        top, bottom = person.brow_y - 0.02, person.brow_y + 0.13
        for x in (-0.045, 0.045):
            pen.line(np.array([[x, top], [0.8 * x, bottom]]), _darker(skin, 0.5 * min(1, expression.frown)), 0.018)
    if expression.nose_wrinkle > 0.1:
        for y in (-0.02, 0.05, 0.11):
            shape = _through((-0.10, y + 0.02), (0, y - 0.02), (0.10, y + 0.02))
            pen.line(shape, _darker(skin, 0.42 * expression.nose_wrinkle), 0.016, 1.1)
    if expression.forehead > 0.1:
        for y in (0.12, 0.20):
            brow = person.brow_y - y - 0.05 * expression.forehead
            pen.line(
                _through((-0.34, brow + 0.02), (0, brow), (0.34, brow + 0.02)),
                _darker(skin, 0.3 * expression.forehead),
                0.014,
                0.6,
            )
    if expression.chin > 0.1:
        y = person.chin_y - 0.13 + expression.jaw
        pen.line(
            _through((-0.09, y + 0.03), (0, y - 0.03), (0.09, y + 0.03)), _darker(skin, 0.4 * expression.chin), 0.02
        )


def _draw_glasses(pen: _Pen, person: Person) -> None:
    if person.glasses == "none":
        return
    frame = (36, 34, 38)
    radius = person.eye_w + 0.045
    for sign in (-1, 1):
        x = sign * person.eye_x
        if person.glasses == "round":
            rim = _ellipse(x, 0.015, radius, 0.9 * radius)
        else:
            corners = np.array([[-1, -0.62], [1, -0.62], [0.92, 0.72], [-0.92, 0.72]])
            rim = corners * radius + [x, 0.015]
        pen.line(np.concatenate([rim, rim[:2]]), frame, 0.022, 1.1)
        pen.line(np.array([[sign * (person.eye_x + radius), -0.02], [sign * person.head_w, -0.06]]), frame, 0.02, 0.8)
    pen.line(_through((radius - person.eye_x, 0), (0, -0.03), (person.eye_x - radius, 0)), frame, 0.022, 1.1)


def _draw_hair(pen: _Pen, person: Person) -> None:
    style, line, part = person.hair_style, person.hair_line, person.parting
    if style == "bald":
        return
    colour, top, width = person.hair, -1.08, person.head_w + 0.05
    angle = np.linspace(np.pi, 2 * np.pi, 31)
    rounded = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.8
    outer = np.stack([width * rounded, -0.12 + (top + 0.12) * np.abs(np.sin(angle)) ** 0.8], 1)
    inside = 0.88 * person.head_w
    if style == "fringe":
        line += 0.16
        front = _through((inside, -0.25), (0, line), (-inside, -0.25))
    elif style in ("side", "long", "bob"):
        front = np.concatenate(
            [
                _through((inside, -0.2), (0.5 * (inside + part), line + 0.05), (part, line - 0.12)),
                _through((part, line - 0.12), (0.5 * (part - inside), line + 0.02), (-inside, -0.2)),
            ]
        )
    else:
        front = _through((inside, -0.18), (0, line - 0.06), (-inside, -0.18))
    pen.fill(np.concatenate([outer, front]), colour, 0.4)
    if style == "curly":
        for x in np.linspace(-0.62, 0.62, 8):
            pen.disc((x, -0.92 + 0.55 * x * x), 0.15, colour, 0.4)
    sheen = _mixed(colour, (255, 255, 255), 0.12)
    pen.line(_through((-0.4, -0.86), (0, -0.97), (0.36, -0.88)), sheen, 0.03, 0.4)


def _light(picture: NDArray[np.float32], view: View) -> NDArray[np.float32]:
    """Shade a picture as lit from one side, in one tint."""
    axis = np.linspace(-1, 1, len(picture), dtype=np.float32)
    shade = view.gain * (1 + view.light[0] * axis[None, :] + view.light[1] * axis[:, None])
    return np.clip(picture * shade[:, :, None] * np.array(view.tint, dtype=np.float32), 0, 255)
