"""One decision at a glance: the face, where its evidence lies, all classes, the nearest other face, similar ones."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowexpr.display.axes import COLOURS, check_flow, clean, panels, plain
from flowexpr.display.faces import as_rgb, draw_grid
from flowexpr.explain.text import describe_way
from flowexpr.inputs import as_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from flowexpr.explain import Explanation

__all__ = ["ExplanationDisplay", "as_colours", "evidence_picture", "map_scale", "strip_captions"]

AGAINST, FOR = COLOURS[0], COLOURS[1]
"""Blue speaks against the explained class, orange for it: in the map, and in all bars."""
OTHER = "0.75"

MOST_BARS = 12
"""Features of a vector that are shown, at most: those of the largest evidence, the others as one."""

LEAST_CHANGE = 1e-6
"""Standard deviations; less is rounding."""

TEXT_WIDTH = 150
"""Letters in a line of the sentence."""
LINE = 0.08
"""Height of such a line, as a share of a row of panels."""
MARGIN = 0.01
"""Left of it, as a share of a figure of its own."""
NAME_WIDTH, TITLE_WIDTH = 20, 42
"""Letters in a line under a face, and above a panel."""


class ExplanationDisplay:
    """One figure that explains one decision.

    Above, the sample beside the face that its map starts from, the map, the evidence of every region,
    and the probabilities; below, the way to the nearest sample that the model takes for the other class, and the
    nearest reference samples. What the explanation was made without is left out. Orange is evidence for the explained
    class, blue for the other.

    Parameters
    ----------
    explanation : Explanation
        What `FlowExpressionClassifier.explain` returned for one sample.

    Attributes
    ----------
    axes_ : dict of str to Axes
        The panels: "face", "map", "regions" ("features" of a vector), "classes", "counterfactual" and "neighbours".
    ax_ : Axes
        The first of them.
    figure_ : Figure
        The figure they stand in.

    Examples
    --------
    >>> from flowexpr import FlowExpressionClassifier
    >>> from flowexpr.datasets import make_faces
    >>> from flowexpr.display import ExplanationDisplay
    >>> from matplotlib.figure import Figure
    >>> faces = make_faces(2, expressions=2, image_size=16, random_state=0)
    >>> clf = FlowExpressionClassifier(n_flows=1, hidden_channels=8, max_epochs=1, random_state=0)
    >>> clf = clf.fit(faces.images, faces.target_names[faces.target])
    >>> display = ExplanationDisplay.from_estimator(clf, faces.images[0], ax=Figure(figsize=(12, 6)).add_subplot())
    >>> list(display.axes_)
    ['face', 'map', 'regions', 'classes', 'counterfactual']
    """

    def __init__(self, explanation: Explanation):
        self.explanation = explanation

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        x: ArrayLike,
        *,
        against: Any = None,
        label: Any = None,
        neutral: Any = None,
        landmarks: ArrayLike | None = None,
        reference: Any = None,
        exclude: Any = None,
        confidence: float = 0.9,
        ax: Axes | None = None,
    ) -> ExplanationDisplay:
        """Explain one sample and draw the explanation.

        Parameters
        ----------
        estimator : FlowExpressionClassifier
            Fitted.
        x : array-like
            One sample; of a DataFrame a row, as ``frame.iloc[0]`` or ``frame.iloc[:1]``.
        against, label, neutral, landmarks, reference, exclude, confidence
            As in `FlowExpressionClassifier.explain`, of one sample.
        ax : Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ExplanationDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator does not explain.
        NotFittedError
            If it is not fitted.
        ValueError
            If x is a DataFrame of more than one row, or what the others are is not as `explain` expects.
        ImportError
            If matplotlib is not installed.
        """
        check_flow(estimator, "explain")
        (explanation,) = estimator.explain(
            _as_batch(x),
            against,
            label=label,
            neutral=neutral,
            landmarks=None if landmarks is None else np.asarray(landmarks)[np.newaxis],
            reference=reference,
            exclude=exclude,
            confidence=confidence,
        )
        return cls(explanation).plot(ax)

    def plot(self, ax: Axes | None = None) -> ExplanationDisplay:
        """Draw the figure.

        Parameters
        ----------
        ax : Axes or None, default=None
            Divided into the panels; it has to stand in a grid, as those of `add_subplot` do. None makes a new figure.

        Returns
        -------
        display : ExplanationDisplay
            The display itself.

        Raises
        ------
        TypeError
            If the explanation is none, but a list of them, say.
        ImportError
            If matplotlib is not installed.
        """
        one, caller = self.explanation, "ExplanationDisplay.plot"
        if not hasattr(one, "pixel_map"):
            raise TypeError(
                f"one Explanation was expected, but came {type(one).__name__}. Pass one of those that explain returns, "
                "such as explain(X)[0]."
            )
        is_image = one.image.ndim > 1
        above = {"face": 1.9, "map": 1.0, "regions": 1.2, "classes": 1.2} if is_image else {"features": 1, "classes": 1}
        if one.pixel_map is None:
            above.pop("map", None)
        if one.regions is None or not one.has_map:
            above.pop("regions" if is_image else "features")
        below = {"counterfactual": 1.9} if one.counterfactual is not None else {}
        if is_image and any((one.neighbours or {}).values()):
            below["neighbours"] = 1.3
        rows = [list(row.items()) for row in (above, below) if row]
        text = textwrap.fill(
            plain(one.text).replace(" %", "\u00a0%").replace("percentile ", "percentile\u00a0"), TEXT_WIDTH
        )
        heights = [LINE * (1 + text.count("\n")), *[1.0, 0.95][: len(rows)]]
        head, *strips = panels(caller, ax, (len(heights), 1), (12.5, 2.9 * sum(heights) + 0.4), height_ratios=heights)
        head.set_axis_off()
        if ax is None:  # long names of features push the panels to the right, but not the sentence
            from matplotlib.transforms import blended_transform_factory

            left = blended_transform_factory(head.figure.transFigure, head.transAxes)
            head.text(MARGIN, 1, text, va="top", transform=left)
        else:
            head.text(0, 1, text, va="top", transform=head.transAxes)
        self.axes_ = {
            name: panel
            for strip, row in zip(strips, rows, strict=True)
            for (name, _), panel in zip(
                row, panels(caller, strip, (1, len(row)), (0, 0), width_ratios=[w for _, w in row]), strict=True
            )
        }
        for name, panel in self.axes_.items():
            getattr(self, f"_draw_{name}")(panel)
        self.ax_ = next(iter(self.axes_.values()))
        self.figure_ = self.ax_.figure.figure  # of a subfigure, the whole
        return self

    def _draw_face(self, ax: Axes) -> None:
        one = self.explanation
        faces = [one.image] if one.baseline is None else [one.image, one.baseline]
        names = [f"taken for {one.predicted}", textwrap.fill(f"map starts from {one.start}", NAME_WIDTH)]
        draw_grid(ax, [_stacked(faces)], [""], names[: len(faces)])

    def _draw_map(self, ax: Axes) -> None:
        one = self.explanation
        ax.imshow(evidence_picture(one.image, np.asarray(one.pixel_map)), interpolation="nearest")
        title = f"evidence for {one.label} (orange)\nand for {one.against} (blue)"
        ax.set_title(plain(title), fontsize="medium")
        ax.set_axis_off()
        ax.text(0.5, -0.03, map_scale(one), ha="center", va="top", fontsize="small", transform=ax.transAxes)

    def _draw_regions(self, ax: Axes) -> None:
        self._draw_nats(ax, dict(self.explanation.regions or {}))

    def _draw_features(self, ax: Axes) -> None:
        regions = dict(self.explanation.regions or {})
        by_size = sorted(regions, key=lambda name: -abs(regions[name]))
        n_shown = len(by_size) if len(by_size) <= MOST_BARS else MOST_BARS - 1
        shown = {name: regions[name] for name in by_size[:n_shown]}
        if by_size[n_shown:]:
            shown[f"{len(by_size) - n_shown} others"] = sum(regions[name] for name in by_size[n_shown:])
        self._draw_nats(ax, shown)

    def _draw_nats(self, ax: Axes, shown: dict[str, float]) -> None:
        """Draw what the map sums to by region or feature, and what it is the difference to."""
        one = self.explanation
        gain = one.evidence - (one.baseline_evidence or 0)
        amount = f"{abs(gain):.1f} nats {'more' if gain >= 0 else 'less'}"
        title = f"for {one.label}: {amount} than\n{textwrap.fill(str(one.start), TITLE_WIDTH)}"
        _bars(ax, shown, [FOR if nats > 0 else AGAINST for nats in shown.values()], "nats", title)

    def _draw_classes(self, ax: Axes) -> None:
        one = self.explanation
        colours = {one.label: FOR, one.against: AGAINST}
        shown = dict(zip(one.classes.tolist(), (100 * one.probabilities).tolist(), strict=True))
        kind = "probabilities" if one.calibrated else "probabilities, not calibrated"
        _bars(ax, shown, [colours.get(name, OTHER) for name in shown], "%", kind)
        ax.set_xlim(0, 100)

    def _draw_counterfactual(self, ax: Axes) -> None:
        one, way = self.explanation, self.explanation.counterfactual
        assert way is not None
        if one.image.ndim == 1:
            self._draw_changes(ax)
            return
        under = ["\n".join(lines) for lines in strip_captions(one)]
        draw_grid(ax, [as_colours(way.strip[: len(under)])], [""], under)
        ax.tick_params(labeltop=False, labelbottom=True)
        ax.set_title(plain(describe_way(way, one.classes)), fontsize="medium")

    def _draw_changes(self, ax: Axes) -> None:
        """Draw the largest changes of features on the way to the counterfactual, of all in the same unit."""
        one, way = self.explanation, self.explanation.counterfactual
        assert way is not None
        names, scales = one.feature_names or [], np.asarray(one.feature_scales)
        change = (np.asarray(way.image, dtype=np.float64) - one.image) / scales
        changed = [i for i in np.argsort(-np.abs(change)) if abs(change[i]) > LEAST_CHANGE]
        shown = {
            f"{names[i]}: {_number(one.image[i], scales[i])} to {_number(way.image[i], scales[i])}": float(change[i])
            for i in changed[:MOST_BARS]
        }
        unit = "change, standard deviations of the training samples"
        if len(changed) > MOST_BARS:
            unit += f"; the {MOST_BARS} largest of {len(changed)}"
        _bars(ax, shown, [OTHER] * len(shown), unit, describe_way(way, one.classes, "sample"))
        if not shown:
            ax.set_axis_off()
            ax.lines[0].remove()  # at zero

    def _draw_neighbours(self, ax: Axes) -> None:
        neighbours = {label: near for label, near in (self.explanation.neighbours or {}).items() if near}
        draw_grid(ax, [_stacked(one.image for one in near) for near in neighbours.values()], [*neighbours], None)
        ax.set_title("nearest reference faces of each class, and how far", fontsize="medium")
        tops = ax.get_yticks()
        step = tops[1] - tops[0] if len(tops) > 1 else 0.0
        height, width = self.explanation.image.shape[:2]
        for y, near in zip(tops, neighbours.values(), strict=True):
            for place, one in enumerate(near):
                x = place * (step or height) * width / height + 0.04 * width
                ax.text(
                    x, y + 0.45 * height, f"{one.distance:.1f}", fontsize="x-small", color="w", backgroundcolor="0.2"
                )


def _as_batch(x: Any) -> Any:
    """Return a batch of the one sample; a row of a DataFrame keeps the names of its columns."""
    x = as_frame(x)
    if hasattr(x, "columns"):
        if len(x) != 1:
            raise ValueError(f"x was expected to be one sample, but is a DataFrame of {len(x)}. Pass frame.iloc[:1].")
        return x
    return np.asarray(x)[np.newaxis]


def evidence_picture(image: NDArray[Any], pixel_map: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lay a map of evidence over its face, in grey.

    Parameters
    ----------
    image : ndarray of shape (H, W) or (H, W, C)
        The face.
    pixel_map : ndarray of shape (H, W)
        Nats. Orange is positive and blue negative; the largest 1 % have the full colour.

    Returns
    -------
    picture : ndarray of shape (H, W, 3)
        Values in 0..1.
    """
    grey = as_colours(image[np.newaxis])[0].mean(-1, keepdims=True)
    full = _full_colour(pixel_map)
    strength = np.clip(np.abs(pixel_map) / full, 0, 1)[..., np.newaxis]
    colour = np.where(pixel_map[..., np.newaxis] > 0, _rgb(FOR), _rgb(AGAINST))
    return (1 - 0.85 * strength) * (0.25 + 0.75 * grey) + 0.85 * strength * colour


def map_scale(explanation: Explanation) -> str:
    """Return what the full colour of an explanation's map stands for, in words."""
    if not explanation.has_map:
        return "the map is empty"
    return f"full colour: {_full_colour(np.asarray(explanation.pixel_map)):.2g} nats a pixel"


def _full_colour(pixel_map: NDArray[np.floating]) -> float:
    """Return the nats a pixel from which on `evidence_picture` has the full colour: the 99th percentile of the map."""
    return max(float(np.quantile(np.abs(pixel_map), 0.99)), 1e-12)


def strip_captions(explanation: Explanation) -> list[tuple[str, str]]:
    """Return, for every face of the strip, the probabilities of the class predicted and of the one looked for.

    Of a strip that leads nowhere, for the first alone.
    """
    one, way = explanation, explanation.counterfactual
    assert way is not None
    digits = 0 if way.reached else 1
    said, wanted = (int(np.flatnonzero(one.classes == label)[0]) for label in (one.predicted, way.label))
    return [
        (f"{one.predicted} {100 * p[said]:.{digits}f} %", f"{way.label} {100 * p[wanted]:.{digits}f} %")
        for p in way.strip_probabilities[: None if way.found else 1]
    ]


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def as_colours(images: NDArray[Any]) -> NDArray[np.float64]:
    """Bring images to what a screen shows, as `as_rgb` does; channels that are no colours are averaged.

    Parameters
    ----------
    images : ndarray of shape (n, H, W) or (n, H, W, C)
        Images.

    Returns
    -------
    images : ndarray of shape (n, H, W, 3), float64
        Values in 0..1.
    """
    if images.ndim == 4 and images.shape[-1] not in (1, 3):
        images = images.mean(-1)
    return as_rgb(images)


def _stacked(images: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """Return images in colours, each from its own type: the sample may be uint8 where the model's images are floats."""
    return np.concatenate([as_colours(image[np.newaxis]) for image in images])


def _number(value: float, scale: float) -> str:
    """Write a feature's value with the digits that a tenth of its standard deviation changes."""
    decimals = 1 - math.floor(math.log10(scale))
    if decimals <= 6 and abs(value) < 1e7:
        return f"{value:.{max(0, decimals)}f}"
    digits = decimals + (math.floor(math.log10(abs(value))) + 1 if value else 0)
    return f"{value:.{max(3, digits)}g}"


def _bars(ax: Axes, values: dict[Any, float], colours: list[str], unit: str, title: str) -> None:
    names = [plain(name) for name in values]
    places = np.arange(len(names))
    ax.barh(places, list(values.values()), color=colours, height=0.7)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.set_xlabel(unit)
    ax.set_title(plain(title), fontsize="medium")
    clean(ax)
    ax.grid(False, axis="y")
