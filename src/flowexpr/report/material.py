"""What a page is made of: the evaluation, the model and the images, and which of them comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowexpr.evaluation import EvaluationResult, Predictions
from flowexpr.evaluation.protocols import GROUPED_BY, PROTOCOLS, strictest

__all__ = ["Material", "Section", "gather"]

MOST_SHOWN = 2000
"""Images that the model is asked about, and the map shows, at most; of more, as many are drawn at random."""


@dataclass(frozen=True)
class Section:
    """One part of the page: its anchor, which is also the name of its template, its heading and what it shows."""

    name: str
    title: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Material:
    """What is known when a page is made.

    Attributes
    ----------
    result : EvaluationResult
        Scores and out-of-fold predictions.
    model : estimator or None
        A fitted classifier, for the map, the morphs, the learning curves and the model card.
    images : ndarray of shape (n_samples, ...) or None
        The samples as given to `evaluate`.
    names : sequence of str or None
        What each sample is called, such as its file.
    skipped : sequence of (str, str)
        Files that were left out, and why.
    latent_table : list of dict or None
        Rows of the paper's Table I.
    embed_faces : bool
        Whether faces may stand in the page.
    protocol, estimator : str
        Whose tables come first.
    random_state : int
        Seed of the choice of images, and of the map.
    """

    result: EvaluationResult
    model: Any
    images: np.ndarray | None
    names: Sequence[str] | None
    skipped: Sequence[tuple[str, str]]
    latent_table: list[dict[str, Any]] | None
    embed_faces: bool
    protocol: str
    estimator: str
    random_state: int

    @property
    def pooled(self) -> Predictions:
        """The predictions that come first."""
        return self.result.predictions[self.estimator, self.protocol]

    @property
    def estimators(self) -> list[str]:
        """All estimators of the first protocol, the first one at the head."""
        names = [name for name, protocol in self.result.predictions if protocol == self.protocol]
        return sorted(names, key=lambda name: name != self.estimator)

    @property
    def protocols(self) -> list[str]:
        """The protocols that were run, from the one that leaks least to the one that leaks most."""
        run = {protocol for _, protocol in self.result.predictions}
        return [name for name in reversed(PROTOCOLS) if name in run]

    @property
    def new_people(self) -> bool | None:
        """Whether nobody whom the first protocol tests was trained on; None where subjects are not known."""
        known = self.result.leakage.get(self.protocol, {}).get("rows_of_shared_subjects")
        if known is None:
            return True if GROUPED_BY.get(self.protocol) == "subject" else None
        return known == 0

    @property
    def missing(self) -> list[str]:
        """What the page lacks, and what would have to be given for it."""
        lacks = []
        if self.images is None:
            lacks.append("the latent map, morphs, explanations and untypical images need the images (X, or --images)")
        if self.model is None:
            lacks.append("the latent map, morphs, explanations and learning curves need a model")
        if self.latent_table is None:
            lacks.append("the paper's Table I needs latent_table (--latent-table)")
        return lacks

    @property
    def shows_faces(self) -> bool:
        """Whether there are images that a screen can show, and the page may hold them."""
        return self.embed_faces and self.images is not None and self.images.ndim >= 3

    @property
    def headline(self) -> dict[str, Any]:
        """The row of the summary that comes first."""
        return next(
            row
            for row in self.result.summary()
            if (row["estimator"], row["protocol"]) == (self.estimator, self.protocol)
        )

    @property
    def chance(self) -> float:
        """How often the most frequent class would be right."""
        return float(np.unique(self.pooled.y_true, return_counts=True)[1].max() / len(self.pooled.y_true))

    @cached_property
    def shown(self) -> np.ndarray:
        """Places in `pooled` of the images that the map shows, in the order of the rows of X."""
        chosen = np.argsort(self.pooled.index, kind="stable")
        if len(chosen) > MOST_SHOWN:
            random = np.random.default_rng(self.random_state)
            chosen = chosen[np.sort(random.choice(len(chosen), MOST_SHOWN, replace=False))]
        return chosen

    @cached_property
    def model_fold(self) -> int | None:
        """The fold of the first predictions that `model` did not see, if it is known."""
        kept = self.result.estimators.get((self.estimator, self.protocol), [])
        return next((fold for fold, fitted in enumerate(kept) if fitted is self.model), None)

    @property
    def tested(self) -> str:
        """What the model has not seen of `model_fold`: people, or mere images of people whom it may know."""
        return "people" if self.new_people else "images"

    def name_of(self, row: int) -> str:
        """Return what a sample is called."""
        return f"image {row}" if self.names is None else str(self.names[row])


def gather(
    result: EvaluationResult,
    model: Any,
    X: ArrayLike | None,
    names: Sequence[str] | None,
    skipped: Sequence[tuple[str, str]],
    latent_table: Any,
    embed_faces: bool,
    random_state: int,
) -> Material:
    """Check what `build` was given, and choose what comes first.

    The protocol that leaks least comes first; of its estimators the one that `model` belongs to, else one of the name
    "flow", else the last.
    """
    if not result.predictions:
        raise ValueError("result holds no predictions, so there is nothing to report. Pass what evaluate returned.")
    images = None if X is None else np.asarray(X)
    n_samples = result.settings.get("n_samples")
    for name, value in (("X", images), ("names", names)):
        if value is not None and n_samples is not None and len(value) != n_samples:
            raise ValueError(
                f"{name} was expected to hold the {n_samples} samples that were evaluated, in the same order, but "
                f"holds {len(value)}. Pass what evaluate was given."
            )
    if embed_faces and images is None:
        raise ValueError("embed_faces=True needs the images, but X is None. Pass the X that evaluate was given.")
    protocol = strictest(protocol for _, protocol in result.predictions)
    candidates = [name for name, kind in result.predictions if kind == protocol]
    fitted = {name: result.estimators.get((name, protocol), []) for name in candidates}
    owners = [name for name in candidates if any(estimator is model for estimator in fitted[name])]
    estimator = [*owners, *(name for name in candidates if name == "flow"), candidates[-1]][0]
    rows = latent_table.to_dict("records") if hasattr(latent_table, "to_dict") else latent_table
    return Material(result, model, images, names, skipped, rows, embed_faces, protocol, estimator, random_state)
