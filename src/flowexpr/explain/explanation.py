"""What is known about one decision: the Explanation that `FlowExpressionClassifier.explain` returns for each sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from flowexpr.explain.counterfactual import Counterfactual
from flowexpr.explain.evidence import EvidenceParts
from flowexpr.explain.neighbours import Neighbour

__all__ = ["Explanation"]


@dataclass(frozen=True, eq=False, repr=False)  # arrays have no truth value, and fill pages
class Explanation:
    """Why the model says one class and not another, for one sample.

    Parameters
    ----------
    image : ndarray
        The sample, in the shape of the training samples; one that came as a row of pixels, as (H, W, C).
    classes : ndarray of shape (n_classes,)
        Labels, in the order of the arrays below.
    label, against : label
        The class explained (the predicted one, unless another was asked for), and the one that it is compared with.
    log_likelihoods : ndarray of shape (n_classes,)
        log p(x | y = i) of the sample as given, nats: without its mirror image, and before the temperature.
    logits : ndarray of shape (n_classes,)
        What decides, nats: the mean log-likelihood over the image and its mirror image, up to a constant, divided by
        `temperature`, plus `log_prior`. Its softmax is `probabilities`, its differences are `evidence`.
    log_prior : ndarray of shape (n_classes,)
        log p(y = i), nats.
    probabilities : ndarray of shape (n_classes,)
        p(y = i | x), as `predict_proba` gives them.
    temperature : float
        What the log-likelihoods are divided by; 1 unless the model was calibrated on held-out samples.
    evidence : float
        Difference of the decision logits of `label` and `against`, nats.
    parts : EvidenceParts
        The same, split over flows, cells of the latent grid, channels, and the prior of classes.
    pixel_map : ndarray of shape (H, W) or (n_features,), or None
        Evidence of every pixel (its colours summed), nats: the sum is `evidence` - `baseline_evidence`. That of an
        image is smoothed by a Gaussian with a standard deviation of a twentieth of the shorter side.
    start : str or None
        What the map starts from, in words, by what the model takes it for: "a neutral version of this face" (the
        class at rest has at least half of the probability), "this face moved to LABEL" where another class was named,
        or "this face moved to a tie of all classes" (none is more than three times as probable as another; of two, none
        has more than three fifths); "moved towards" them, "(taken for LABEL, 85 %)", where the model was not led that
        far, "this face itself, since no other start was found", or "the neutral face given", whatever the model takes
        it for. Of vectors "sample" instead of "face".
    baseline : ndarray or None
        That sample, in the shape of `image`; quantised.
    baseline_probabilities : ndarray of shape (n_classes,) or None
        What the model says of it, before it is quantised.
    baseline_evidence : float or None
        Evidence there, nats, before it is quantised. What `precision="mixed"` rounds of `evidence` is in it too.
    convergence_delta : float or None
        Nats by which the sum over the points at which the gradient was taken differs from `evidence` -
        `baseline_evidence`: 0 is a sum that missed nothing. It is divided among the pixels that moved the most, so that
        the map itself sums to that difference.
    regions : dict of str to float, or None
        The map, not smoothed, summed over the regions of the face, "elsewhere" among them, nats; for vectors by
        feature. None without a map.
    counterfactual : Counterfactual or None
        The nearest sample that the model takes for `against`; for `label`, where `against` is what it says already.
    neighbours : dict of label to list of Neighbour, or None
        For `label` and `against`, the nearest reference faces of that class.
    feature_names : list of str or None
        Of vectors, `feature_names_in_` or "x0", "x1", ...; None for images.
    feature_scales : ndarray of shape (n_features,) or None
        Standard deviations of the training vectors' features, 1 for a constant one; None for images.
    typicality : float or None
        Share of training faces that are less typical.
    text : str
        All of it as a sentence.
    """

    image: NDArray[Any]
    classes: NDArray[Any]
    label: Any
    against: Any
    log_likelihoods: NDArray[np.float64]
    logits: NDArray[np.float64]
    log_prior: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    temperature: float
    evidence: float
    parts: EvidenceParts
    pixel_map: NDArray[np.float64] | None = None
    start: str | None = None
    baseline: NDArray[Any] | None = None
    baseline_probabilities: NDArray[np.float64] | None = None
    baseline_evidence: float | None = None
    convergence_delta: float | None = None
    regions: dict[str, float] | None = None
    counterfactual: Counterfactual | None = None
    neighbours: dict[Any, list[Neighbour]] | None = None
    feature_names: list[str] | None = None
    feature_scales: NDArray[np.float64] | None = None
    typicality: float | None = None
    text: str = ""

    def __repr__(self) -> str:
        """Return the sentence: a list of explanations is read at a glance."""
        return f"<Explanation: {self.text}>"

    @property
    def predicted(self) -> Any:
        """The most probable class, which is `label` unless another was asked for."""
        return self.classes[self.logits.argmax()]

    @property
    def has_map(self) -> bool:
        """Whether there is a map that shows anything: one that starts from the sample itself is empty."""
        return self.pixel_map is not None and bool(np.any(self.pixel_map))

    @property
    def calibrated(self) -> bool:
        """Whether the model was calibrated on held-out samples."""
        return self.temperature != 1

    @property
    def uncalibrated_probabilities(self) -> NDArray[np.float64]:
        """What `probabilities` would be at temperature 1, (n_classes,)."""
        return np.asarray(softmax((self.logits - self.log_prior) * self.temperature + self.log_prior))
