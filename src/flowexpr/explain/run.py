"""Explain a batch: decide, compare two classes, integrate a map, search a counterfactual, look up neighbours."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from flowexpr.exceptions import some, warn
from flowexpr.explain.counterfactual import Counterfactual, aim_at_class, find_counterfactuals
from flowexpr.explain.descent import Aim, descend
from flowexpr.explain.evidence import Decided, EvidenceModel
from flowexpr.explain.explanation import Explanation
from flowexpr.explain.neighbours import ReferenceFaces
from flowexpr.explain.neutral_version import Rest, neutral_versions
from flowexpr.explain.pixel_map import N_POINTS, integrate_along_line, smooth, sum_colours
from flowexpr.explain.regions import ELSEWHERE, REGIONS, region_labels
from flowexpr.explain.text import describe, percent
from flowexpr.face_frame import FaceFrame
from flowexpr.fitted import predictor_of
from flowexpr.parameters import is_int, is_real
from flowexpr.signals import VectorSignal

if TYPE_CHECKING:
    from flowexpr.classifier import FlowExpressionClassifier

__all__ = ["Explainer", "as_samples"]

AT_ONCE = 8
"""Samples in a batch: gradients hold the activations of both their views."""

MOST_MISSED = 0.05
"""Share of the sizes of all values of a map that its points may miss; those of trained models mostly miss less than
0.01."""


class Explainer:
    """Explains the decisions of a fitted classifier, sample by sample.

    Parameters
    ----------
    estimator : FlowExpressionClassifier
        Fitted.
    pixel_map, counterfactual : bool
        Whether to make them.
    confidence : float
        Least probability that a counterfactual has for its class.
    n_neighbours : int
        Reference faces shown of each class.
    """

    def __init__(
        self,
        estimator: "FlowExpressionClassifier",
        *,
        pixel_map: bool,
        counterfactual: bool,
        confidence: float,
        n_neighbours: int,
    ) -> None:
        for name, value in (("pixel_map", pixel_map), ("counterfactual", counterfactual)):
            if not isinstance(value, bool | np.bool_):
                raise ValueError(f"{name}={value!r} was expected to be True or False.")
        if not is_real(confidence) or not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence!r} was expected to be a probability, above 0 and below 1.")
        if not is_int(n_neighbours) or n_neighbours < 1:
            raise ValueError(f"n_neighbours={n_neighbours!r} was expected to be an integer of at least 1.")
        self.estimator = estimator
        self.model = EvidenceModel(predictor_of(estimator))
        self.pixel_map, self.counterfactual = pixel_map, counterfactual
        self.confidence, self.n_neighbours = confidence, n_neighbours
        self.means = self._to_tensor(estimator.class_latents_[0])  # of z1
        names = [str(label).lower() for label in estimator.classes_.tolist()]
        self.neutral_class = names.index("neutral") if "neutral" in names else None
        self.feature_names, self.feature_scales = None, None
        if isinstance(estimator.signal_, VectorSignal):
            self.feature_names = _feature_names(estimator)
            self.feature_scales = np.array(estimator.signal_.scale)

    def explain(
        self,
        rows: NDArray[Any],
        *,
        label: NDArray[np.int64] | None,
        against: NDArray[np.int64] | None,
        neutral: NDArray[Any] | int | None,
        frames: list[FaceFrame] | None,
        reference: ReferenceFaces | None,
        exclude: list[set[Any]],
        typicality: NDArray[np.float64],
    ) -> list[Explanation]:
        """Explain validated rows (n, n_features), each with its entry of what else is given.

        `neutral` holds rows too, or is the index of the neutral class.
        """
        at_rest = self.neutral_class
        if isinstance(neutral, int):
            at_rest, neutral = neutral, None
        if frames is None:
            frames = self._average_frames(len(rows))
        explanations: list[Explanation] = []
        missed: list[float] = []
        decided = self.model.decide(rows, label, against)
        for start in range(0, len(rows), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            batch = _Batch(self, decided[part], at_rest)
            found = batch.decisions(as_samples(self.estimator, rows[part]))
            batch.descend(to_rest=self.pixel_map and neutral is None, to_other=self.counterfactual)
            if self.pixel_map:
                found, maps, of_maps = batch.with_maps(found, None if neutral is None else neutral[part])
                found = self._with_regions(found, maps, frames[part])
                missed += of_maps
            if self.counterfactual:
                found = batch.with_counterfactuals(found)
            if reference is not None:
                found = batch.with_neighbours(found, reference, exclude[part])
            explanations += found
        _warn_of_rough_maps(np.array(missed))
        return [_with_text(one, level) for one, level in zip(explanations, typicality.tolist(), strict=True)]

    def _average_frames(self, n: int) -> list[FaceFrame]:
        """Return where the average training face has eyes and mouth, n times; nothing of vectors."""
        if self.estimator.image_shape_ is None:
            return []
        origin, down = map(np.array, self.estimator.face_frame_)
        return [FaceFrame(origin, down)] * n

    def _with_regions(
        self, found: list[Explanation], maps: NDArray[np.float64], frames: list[FaceFrame]
    ) -> list[Explanation]:
        """Sum maps (n, H, W) by the regions of their faces, or tell the features of maps (n, n_features)."""
        shape = self.estimator.image_shape_
        if shape is None:
            by_feature = [dict(zip(self.feature_names or (), row, strict=True)) for row in maps.tolist()]
            return [replace(one, regions=nats) for one, nats in zip(found, by_feature, strict=True)]
        regions = []
        for one_map, frame in zip(maps, frames, strict=True):
            labels = region_labels(shape[:2], frame)
            sums = np.bincount(labels.ravel(), one_map.ravel(), len(REGIONS) + 1)
            regions.append(dict(zip((*REGIONS, ELSEWHERE), sums.tolist(), strict=True)))
        return [replace(one, regions=by_name) for one, by_name in zip(found, regions, strict=True)]

    def _to_tensor(self, latent: NDArray[Any]) -> Tensor:
        predictor = self.model.predictor
        tensor = torch.from_numpy(np.array(latent)).to(predictor.device, predictor.dtype)
        return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


class _Starts(NamedTuple):
    """Where the maps of n samples start: the flow's variable (n, ...), what the model says of it, and its names."""

    x: Tensor
    probabilities: NDArray[np.float64]
    names: list[str]


class _Batch:
    """A few samples, their latents and the two classes compared; `at_rest` is the class where maps start, if any."""

    def __init__(self, explainer: Explainer, decided: Decided, at_rest: int | None) -> None:
        self.explainer, self.decided, self.at_rest = explainer, decided, at_rest
        self.a, self.b = decided.a, decided.b
        self.says = torch.from_numpy(decided.logits.argmax(1)).to(self.a)
        self.target = torch.where(self.b == self.says, self.a, self.b)  # of the counterfactual
        rest = torch.full_like(self.a, at_rest or 0)
        is_tie = torch.full_like(rest, at_rest is None, dtype=torch.bool) | (self.says == rest)
        self.rest = Rest(rest, is_tie)
        self.to_rest: tuple[Aim, Tensor] | None = None
        self.to_other: tuple[Aim, Tensor] | None = None

    def descend(self, *, to_rest: bool, to_other: bool) -> None:
        """Search the neutral versions and the counterfactuals together, as far as they are asked for."""
        explainer, aims = self.explainer, {}
        decided = replace(self.decided, a=self.says, b=self.target)
        n_classes = len(explainer.means)
        if to_rest:
            aims["rest"] = self.rest.aim(decided, n_classes)
        if to_other:
            aims["other"] = aim_at_class(decided, n_classes, explainer.confidence)
        if aims:
            steps = descend(explainer.model, explainer.means, list(aims.values()))
            found = {name: (aim, step) for (name, aim), step in zip(aims.items(), steps, strict=True)}
            self.to_rest, self.to_other = found.get("rest"), found.get("other")

    def decisions(self, images: NDArray[Any]) -> list[Explanation]:
        """Return what needs the likelihoods alone."""
        estimator, decided = self.explainer.estimator, self.decided
        probabilities = softmax(decided.logits, axis=1)
        return [
            Explanation(
                image=images[i],
                classes=estimator.classes_,
                label=estimator.classes_[int(self.a[i])],
                against=estimator.classes_[int(self.b[i])],
                log_likelihoods=decided.log_likelihoods[i],
                logits=decided.logits[i],
                log_prior=estimator.log_prior_,
                probabilities=probabilities[i],
                temperature=estimator.temperature_,
                evidence=decided.parts[i].total,
                parts=decided.parts[i],
                feature_names=self.explainer.feature_names,
                feature_scales=self.explainer.feature_scales,
            )
            for i in range(len(decided))
        ]

    def with_maps(
        self, found: list[Explanation], neutral: NDArray[Any] | None
    ) -> tuple[list[Explanation], NDArray[np.float64], list[float]]:
        """Add the map of the evidence, from a neutral version of the sample to the sample.

        Return the maps unsmoothed too, (n, H, W) or (n, n_features), and what share of each the points missed.
        """
        model, estimator = self.explainer.model, self.explainer.estimator
        start = self._start(neutral, "sample" if estimator.image_shape_ is None else "face")
        integral = integrate_along_line(model, start.x, self.decided.x, self.a, self.b)
        shape = estimator.image_shape_
        maps = sum_colours(integral.maps.cpu().numpy(), shape)
        shown = maps if shape is None else smooth(maps)
        baselines = as_samples(estimator, model.predictor.signal.to_rows(start.x))
        gain, delta = (integral.end - integral.start).tolist(), integral.delta.tolist()
        with_map = [
            replace(
                one,
                pixel_map=shown[i],
                start=start.names[i],
                baseline=baselines[i],
                baseline_probabilities=start.probabilities[i],
                baseline_evidence=one.evidence - gain[i],
                convergence_delta=delta[i],
            )
            for i, one in enumerate(found)
        ]
        return with_map, maps, integral.missed.tolist()

    def _start(self, neutral: NDArray[Any] | None, thing: str) -> "_Starts":
        """Return where the maps start, called by what the model takes them for."""
        model = self.explainer.model
        if neutral is not None:
            given = torch.cat(list(model.predictor.batches(neutral)))
            probabilities = torch.softmax(model.logits(given), 1).cpu().numpy()
            return _Starts(given, probabilities, [f"the neutral {thing} given"] * len(neutral))
        assert self.to_rest is not None  # `descend` has searched
        found = neutral_versions(model, *self.to_rest)
        reached = self.rest.reached(found.probabilities.log())
        probabilities = found.probabilities.cpu().numpy()
        told = zip(found.moved.tolist(), reached.tolist(), self.rest.is_tie.tolist(), probabilities, strict=True)
        return _Starts(found.x, probabilities, [self._name_of_start(thing, *one) for one in told])

    def _name_of_start(
        self, thing: str, is_moved: bool, is_reached: bool, is_tie: bool, probabilities: NDArray[np.float64]
    ) -> str:
        at_rest, classes = self.at_rest, self.explainer.estimator.classes_
        if not is_moved:
            return f"this {thing} itself, since no other start was found"
        if is_reached and not is_tie and at_rest == self.explainer.neutral_class:
            return f"a neutral version of this {thing}"
        goal = "a tie of all classes" if is_tie or at_rest is None else str(classes[at_rest])
        if is_reached:
            return f"this {thing} moved to {goal}"
        # Nearer to a tie in the mean of all classes it may be surer of one of them than the sample is.
        said = probabilities.argmax()
        return f"this {thing} moved towards {goal} (taken for {classes[said]}, {percent(probabilities[said])})"

    def with_counterfactuals(self, found: list[Explanation]) -> list[Explanation]:
        """Add the nearest sample taken for the other class; for the first, where the model says the other already."""
        explainer, estimator = self.explainer, self.explainer.estimator
        assert self.to_other is not None  # `descend` has searched
        aim, step = self.to_other
        steps = find_counterfactuals(explainer.model, aim.decided, explainer.means, explainer.confidence, step)
        explained = []
        for i, one in enumerate(found):
            strip = as_samples(estimator, steps.rows[:, i])
            explained.append(
                replace(
                    one,
                    counterfactual=Counterfactual(
                        label=estimator.classes_[int(self.target[i])],
                        image=strip[-1],
                        probabilities=steps.probabilities[-1, i],
                        reached=bool(steps.reached[i]),
                        found=bool(steps.found[i]),
                        strip=strip,
                        strip_probabilities=steps.probabilities[:, i],
                    ),
                )
            )
        return explained

    def with_neighbours(
        self, found: list[Explanation], reference: ReferenceFaces, exclude: list[set[Any]]
    ) -> list[Explanation]:
        """Add the nearest reference samples of both classes."""
        model, k = self.explainer.model, self.explainer.n_neighbours
        of_a, of_b = (reference.nearest(model, self.decided.z1, y, exclude, k) for y in (self.a, self.b))
        return [
            replace(one, neighbours={one.label: near_a, one.against: near_b})
            for one, near_a, near_b in zip(found, of_a, of_b, strict=True)
        ]


def _feature_names(estimator: "FlowExpressionClassifier") -> list[str]:
    """Return what the columns of vectors are called."""
    given = getattr(estimator, "feature_names_in_", None)
    return [f"x{i}" for i in range(estimator.n_features_in_)] if given is None else list(map(str, given))


def as_samples(estimator: "FlowExpressionClassifier", rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows in the shape of the training samples; as images (n, H, W, C) where those were rows of pixels."""
    shape = estimator.sample_shape_
    if len(shape) == 1 and estimator.image_shape_ is not None:
        shape = estimator.image_shape_
    return rows.reshape(len(rows), *shape)


def _warn_of_rough_maps(missed: NDArray[np.float64]) -> None:
    """Warn, naming the samples, where the points of a line missed too large a share of its map."""
    rough = np.flatnonzero(~(missed <= MOST_MISSED))  # also what is not a number
    if not len(rough):
        return
    worst = float(np.nan_to_num(missed[rough], nan=np.inf).max())
    told = f"{100 * worst:.2g} % of it" if worst < 1 else "all of it"
    warn(
        f"{len(rough)} of {len(missed)} maps are rough (of X[{some([str(i) for i in rough])}]): on the way from where "
        f"they start the evidence changes too irregularly for the {N_POINTS} points at which its gradient is taken, or "
        f"by less than numbers of that size are rounded. The worst misses {told}. Do not rely on a map whose "
        "`convergence_delta` is large beside what it shows, nor on one of a sample that is like no training sample."
    )


def _with_text(one: Explanation, typicality: float) -> Explanation:
    subject = one.label if one.evidence >= 0 else one.against  # of the sentence
    (place,) = np.flatnonzero(one.classes == subject)
    text = describe(
        one.label,
        one.against,
        one.evidence,
        probability=float(one.uncalibrated_probabilities[place]),
        calibrated=float(one.probabilities[place]) if one.calibrated else None,
        regions=one.regions if one.has_map else None,
        baseline_evidence=one.baseline_evidence if one.has_map else None,
        start=one.start,
        typicality=typicality,
        thing="sample" if one.image.ndim == 1 else "face",
        taken_for=None if subject == one.predicted else one.predicted,
    )
    return replace(one, typicality=typicality, text=text)
