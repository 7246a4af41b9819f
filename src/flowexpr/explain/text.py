"""An explanation as a sentence, in which every word is carried by a number."""

from collections.abc import Mapping
from typing import Any

__all__ = ["describe"]

NEAR_TIE = 0.2
"""Nats below which neither class has much of a lead: odds of less than 1.22 to 1."""

LEAST_SHARE = 0.01
"""Regions with a smaller share of the evidence are not named."""


def describe(
    label: Any,
    against: Any,
    evidence: float,
    *,
    probability: float,
    calibrated: bool,
    regions: Mapping[Any, float] | None,
    baseline_evidence: float | None,
    typicality: float | None,
    thing: str = "face",
) -> str:
    r"""Return the sentence.

    Parameters
    ----------
    label, against : label
        The class explained and the one it is compared with.
    evidence : float
        Nats for `label` against `against`.
    probability : float
        p(y = label | x), as the model predicts it.
    calibrated : bool
        Whether that was calibrated on held-out data.
    regions : mapping of str to float or None
        Nats by region (or feature), `evidence` - `baseline_evidence` together; None where no map was made.
    baseline_evidence : float or None
        Evidence of the neutral version of the sample, nats; None where no map was made.
    typicality : float or None
        Share of training samples that are less typical, 0 to 1; None where it is not known.
    thing : str, default="face"
        What a sample is called.

    Returns
    -------
    text : str
        One sentence.

    Examples
    --------
    >>> from flowexpr.explain.text import describe
    >>> regions = {"mouth": 6.0, "eyes": 2.0, "nose": -0.5}
    >>> known = {"probability": 0.93, "calibrated": True, "typicality": None}
    >>> text = describe("fear", "anger", 9.4, regions=regions, baseline_evidence=1.9, **known)
    >>> print(text.replace(": mouth", ":\nmouth"))
    fear rather than anger by 9.4 nats (93 %, calibrated), 7.5 nats more than a neutral version of this face:
    mouth 75 %, eyes 25 %; against it: nose 0.5 nats.
    """
    if evidence < 0:
        label, against, evidence = against, label, -evidence
        regions = None if regions is None else {name: -nats for name, nats in regions.items()}
        baseline_evidence = None if baseline_evidence is None else -baseline_evidence
    kind = "calibrated" if calibrated else "not calibrated"
    lead = f"{evidence:.1f} nats" if evidence >= NEAR_TIE else f"{evidence:.2f} nats, a near tie"
    text = f"{label} rather than {against} by {lead} ({_percent(probability)}, {kind})"
    if regions is not None and baseline_evidence is not None:
        gain = evidence - baseline_evidence
        text += f", {abs(gain):.1f} nats {'more' if gain >= 0 else 'less'} than a neutral version of this {thing}"
        text += _where(regions)
    if typicality is not None:
        percentile = f"percentile {100 * typicality:.0f}"
        text += f"; this {thing} is {_typical(typicality)} of the training {thing}s ({percentile})"
    return text + "."


def _where(regions: Mapping[Any, float]) -> str:
    """Return the shares of what speaks for it, and the nats against."""
    ranked = sorted(regions.items(), key=lambda item: -item[1])
    total = sum(nats for _, nats in ranked if nats > 0)
    for_it = [f"{name} {_percent(nats / total)}" for name, nats in ranked if nats > LEAST_SHARE * total and total > 0]
    against = [f"{name} {-nats:.1f} nats" for name, nats in reversed(ranked) if nats <= -0.05]
    text = f": {', '.join(for_it)}" if for_it else ""
    return text + (f"; against it: {', '.join(against)}" if against else "")


def _percent(share: float) -> str:
    if 0.995 <= share < 1:
        return f"{min(100 * share, 99.99):.2f} %"
    return f"{100 * share:.0f} %"


def _typical(share: float) -> str:
    return "untypical" if share < 0.05 else "typical"
