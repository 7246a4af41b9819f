"""What is known about one decision: the Explanation that `FlowExpressionClassifier.explain` returns for each sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowexpr.explain.counterfactual import Counterfactual
from flowexpr.explain.evidence import EvidenceParts
from flowexpr.explain.neighbours import Neighbour

__all__ = ["Explanation"]


@dataclass(frozen=True)
class Explanation:
    """Why the model says one class and not another, for one sample.

    Parameters
    ----------
    image : ndarray
        The sample, in the shape of the training samples.
    classes : ndarray of shape (n_classes,)
        Labels, in the order of the arrays below.
    label, against : label
        The predicted class, and the one that it is compared with.
    log_likelihoods : ndarray of shape (n_classes,)
        log p(x | y = i) of the sample as given, nats.
    log_prior : ndarray of shape (n_classes,)
        log p(y = i), nats.
    probabilities : ndarray of shape (n_classes,)
        p(y = i | x), as `predict_proba` gives them.
    calibrated : bool
        Whether the model was calibrated on held-out samples.
    evidence : float
        Difference of the decision logits of `label` and `against`, nats.
    parts : EvidenceParts
        The same, split over flows, cells of the latent grid, channels, and the prior of classes.
    pixel_map : ndarray of shape (H, W) or (n_features,), or None
        Evidence of every pixel (its colours summed), nats: the sum is `evidence` - `baseline_evidence`.
    baseline : ndarray or None
        The neutral version of the sample where the map starts from, in the shape of the training samples; quantised.
    baseline_evidence : float or None
        Evidence there, nats, before it is quantised.
    regions : dict of str to float, or None
        `pixel_map` summed over the regions of the face, "elsewhere" among them, nats; for vectors by feature.
    counterfactual : Counterfactual or None
        The nearest sample that the model takes for `against`.
    neighbours : dict of label to list of Neighbour, or None
        For `label` and `against`, the nearest reference faces of that class.
    typicality : float or None
        Share of held-out or training faces that are less typical; None for a model that was not told.
    text : str
        All of it as a sentence.
    """

    image: NDArray[Any]
    classes: NDArray[Any]
    label: Any
    against: Any
    log_likelihoods: NDArray[np.float64]
    log_prior: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    calibrated: bool
    evidence: float
    parts: EvidenceParts
    pixel_map: NDArray[np.float64] | None
    baseline: NDArray[Any] | None
    baseline_evidence: float | None
    regions: dict[str, float] | None
    counterfactual: Counterfactual | None
    neighbours: dict[Any, list[Neighbour]] | None
    typicality: float | None
    text: str
