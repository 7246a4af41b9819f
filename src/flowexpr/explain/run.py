"""Explain a batch: decide, compare two classes, integrate a map, search a counterfactual, look up neighbours."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import softmax
from torch import Tensor

from flowexpr.explain.counterfactual import Counterfactual, find_counterfactuals
from flowexpr.explain.evidence import Decided, EvidenceModel
from flowexpr.explain.explanation import Explanation
from flowexpr.explain.neighbours import ReferenceFaces
from flowexpr.explain.pixel_map import integrate_along_path
from flowexpr.explain.regions import (
    ELSEWHERE,
    REGIONS,
    FaceFrame,
    frame_of_average_face,
    region_labels,
)
from flowexpr.explain.text import describe

if TYPE_CHECKING:
    from flowexpr.classifier import FlowExpressionClassifier

__all__ = ["Explainer"]

AT_ONCE = 8
"""Samples in a batch: gradients hold the activations of both their views."""

SMOOTHING = 1 / 20
"""Standard deviation of the smoothing of a map, as a share of the image's shorter side; the sum stays as it is."""


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
        if not isinstance(confidence, float | int) or not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence!r} was expected to be a probability, above 0 and below 1.")
        if not isinstance(n_neighbours, int | np.integer) or isinstance(n_neighbours, bool) or n_neighbours < 1:
            raise ValueError(f"n_neighbours={n_neighbours!r} was expected to be an integer of at least 1.")
        self.estimator = estimator
        self.model = EvidenceModel(estimator._predictor())
        self.pixel_map, self.counterfactual = pixel_map, counterfactual
        self.confidence, self.n_neighbours = confidence, n_neighbours
        self.means = [self._to_tensor(mean) for mean in estimator.class_latents_]
        self.rest = [i for i, label in enumerate(estimator.classes_.tolist()) if str(label).lower() == "neutral"]

    def explain(
        self,
        rows: NDArray[Any],
        *,
        against: NDArray[np.int64] | None,
        neutral: NDArray[Any] | None,
        frames: list[FaceFrame] | None,
        reference: ReferenceFaces | None,
        exclude: list[set[Any]],
        typicality: NDArray[np.float64] | None,
    ) -> list[Explanation]:
        """Explain validated rows (n, n_features), each with its entry of what else is given."""
        explanations: list[Explanation] = []
        decided = self.model.decide(rows, against)
        for start in range(0, len(rows), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            batch = _Batch(self, decided[part])
            found = batch.decisions(self.estimator._shaped(rows[part]))
            if self.pixel_map:
                found = batch.with_maps(found, None if neutral is None else neutral[part])
                found = self._with_regions(found, None if frames is None else frames[part])
            if self.counterfactual:
                found = batch.with_counterfactuals(found)
            if reference is not None:
                found = batch.with_neighbours(found, reference, exclude[part])
            explanations += found
        levels = [None] * len(explanations) if typicality is None else typicality.tolist()
        return [_with_text(one, level) for one, level in zip(explanations, levels, strict=True)]

    def _with_regions(self, found: list[Explanation], frames: list[FaceFrame] | None) -> list[Explanation]:
        shape = self.estimator.image_shape_
        if shape is None:
            names = getattr(
                self.estimator, "feature_names_in_", [f"x{i}" for i in range(self.estimator.n_features_in_)]
            )
            return [replace(one, regions=dict(zip(map(str, names), _map(one).tolist(), strict=True))) for one in found]
        if frames is None:
            frames = [self._average_frame()] * len(found)
        regions = []
        for one, frame in zip(found, frames, strict=True):
            labels = region_labels(shape[:2], frame)
            sums = np.bincount(labels.ravel(), _map(one).ravel(), len(REGIONS) + 1)
            regions.append(dict(zip((*REGIONS, ELSEWHERE), sums.tolist(), strict=True)))
        return [replace(one, regions=by_name) for one, by_name in zip(found, regions, strict=True)]

    def _average_frame(self) -> FaceFrame:
        """Return where the face is in the image that the mean latents of the training set decode to."""
        face = self.model.decode([mean.mean(0, keepdim=True) for mean in self.means])
        return frame_of_average_face(face[0].mean(0).double().cpu().numpy())

    def _to_tensor(self, latent: NDArray[Any]) -> Tensor:
        predictor = self.model.predictor
        tensor = torch.from_numpy(np.array(latent)).to(predictor.device, predictor.dtype)
        return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


class _Batch:
    """A few samples, their latents and the two classes compared."""

    def __init__(self, explainer: Explainer, decided: Decided) -> None:
        self.explainer, self.decided = explainer, decided
        self.z, self.a, self.b = decided.z, decided.a, decided.b

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
                log_prior=estimator.log_prior_,
                probabilities=probabilities[i],
                calibrated=estimator.calibrate is not None,
                evidence=decided.parts[i].total,
                parts=decided.parts[i],
                pixel_map=None,
                baseline=None,
                baseline_evidence=None,
                regions=None,
                counterfactual=None,
                neighbours=None,
                typicality=None,
                text="",
            )
            for i in range(len(decided))
        ]

    def with_maps(self, found: list[Explanation], neutral: NDArray[Any] | None) -> list[Explanation]:
        """Add the map of the evidence, from a neutral version of the sample to the sample."""
        model = self.explainer.model
        start = self._neutral(neutral)
        integral = integrate_along_path(model, start, self.z, self.a, self.b)
        maps = integral.maps.double().cpu().numpy()
        if maps.ndim == 4:
            sigma = SMOOTHING * min(maps.shape[2:])
            maps = gaussian_filter(maps.sum(1), (0, sigma, sigma), mode="reflect")
        baselines = self.explainer.estimator._shaped(model.predictor.signal.to_rows(model.decode(start)))
        return [
            replace(
                one,
                pixel_map=maps[i],
                baseline=baselines[i],
                baseline_evidence=float(integral.start[i]) + one.parts.class_prior,
            )
            for i, one in enumerate(found)
        ]

    def _neutral(self, neutral: NDArray[Any] | None) -> list[Tensor]:
        """Return the latents where the map starts from: the neutral face's, or the sample's moved to an average."""
        if neutral is not None:
            model = self.explainer.model
            return [level.clone() for level in model.encode(torch.cat(list(model.predictor.batches(neutral))))]
        moved = []
        for level, mean in zip(self.z, self.explainer.means, strict=True):
            goal = mean.mean(0, keepdim=True).expand(len(level), *mean.shape[1:])
            if self.explainer.rest:
                at_rest = self.explainer.rest[0]
                goal = torch.where((self.a == at_rest).view(-1, *[1] * (level.ndim - 1)), goal, mean[at_rest])
            moved.append(level + goal - mean[self.a])
        return moved

    def with_counterfactuals(self, found: list[Explanation]) -> list[Explanation]:
        """Add the nearest sample that the model takes for the other class."""
        estimator = self.explainer.estimator
        explainer = self.explainer
        steps = find_counterfactuals(explainer.model, self.decided, explainer.means[0], explainer.confidence)
        explained = []
        for i, one in enumerate(found):
            strip = estimator._shaped(steps.rows[:, i])
            explained.append(
                replace(
                    one,
                    counterfactual=Counterfactual(
                        label=one.against,
                        image=strip[-1],
                        probabilities=steps.probabilities[-1, i],
                        reached=bool(steps.reached[i]),
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
        of_a, of_b = (reference.nearest(model, self.z[0], y, exclude, k) for y in (self.a, self.b))
        return [
            replace(one, neighbours={one.label: near_a, one.against: near_b})
            for one, near_a, near_b in zip(found, of_a, of_b, strict=True)
        ]


def _map(one: Explanation) -> NDArray[np.float64]:
    return np.asarray(one.pixel_map)


def _with_text(one: Explanation, typicality: float | None) -> Explanation:
    text = describe(
        one.label,
        one.against,
        one.evidence,
        probability=float(one.probabilities.max()),
        calibrated=one.calibrated,
        regions=one.regions,
        baseline_evidence=one.baseline_evidence,
        typicality=typicality,
        thing="sample" if one.image.ndim == 1 else "face",
    )
    return replace(one, typicality=typicality, text=text)
