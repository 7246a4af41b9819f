"""An explanation as a sentence, in which every word is carried by a number."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from flowexpr.explain.counterfactual import Counterfactual

__all__ = ["describe", "describe_way"]

NEAR_TIE = 0.2
"""Nats below which neither class has much of a lead: odds of less than 1.22 to 1."""

LEAST_DIVIDED = 0.05
"""Nats that are told by region; shares of less are shares of rounding."""

SUREST = 0.99995
"""Probabilities above this are not told apart."""

LEAST_SHARE = 0.01
"""Regions with a smaller share of the evidence are not named."""

MOST_WRITTEN_OUT = 1e6
"""Nats; more are told as powers of ten. Such samples are nothing like the training samples."""

MOST_NAMED, MOST_OTHERS = 5, 2
"""Features that are named of a vector; the rest are "others", if more than so many."""


def describe(
    label: Any,
    against: Any,
    evidence: float,
    *,
    probability: float,
    calibrated: float | None,
    regions: Mapping[Any, float] | None,
    baseline_evidence: float | None,
    start: str | None,
    typicality: float | None,
    thing: str = "face",
    taken_for: Any = None,
) -> str:
    r"""Return the sentence.

    Parameters
    ----------
    label, against : label
        The class explained and the one it is compared with.
    evidence : float
        Nats for `label` against `against`; where they are negative, the sentence is about `against`.
    probability : float
        p(y = i | x) of the class that the sentence is about, at temperature 1.
    calibrated : float or None
        The same as the model predicts it, if it was calibrated on held-out data.
    regions : mapping of str to float or None
        Nats by region (or feature), `evidence` - `baseline_evidence` together; None where nothing tells them.
    baseline_evidence : float or None
        Evidence where the map starts, nats; None where no map was made.
    start : str or None
        What the map starts from, in words.
    typicality : float or None
        Share of training samples that are less typical, 0 to 1; None where it is not known.
    thing : str, default="face"
        What a sample is called.
    taken_for : label, default=None
        The predicted class, where it is not the one explained.

    Returns
    -------
    text : str
        One sentence.

    Examples
    --------
    >>> from flowexpr.explain.text import describe
    >>> regions = {"mouth": 6.0, "eyes": 2.0, "nose": -0.5}
    >>> known = {"probability": 0.9999, "calibrated": 0.93, "typicality": 0.48}
    >>> start = {"baseline_evidence": 1.9, "start": "a neutral version of this face"}
    >>> text = describe("fear", "anger", 9.4, regions=regions, **start, **known)
    >>> print(text.replace("; ", ";\n").replace("), ", "),\n"))
    fear rather than anger by 9.4 nats (99.99 % before calibration, calibrated 93 %),
    7.5 nats more than a neutral version of this face;
    of what speaks for it: mouth 75 %, eyes 25 %;
    against it: nose 0.5 nats;
    this face is typical of the training faces (percentile 48).
    """
    if evidence < 0:
        label, against, evidence = against, label, -evidence
        regions = None if regions is None else {name: -nats for name, nats in regions.items()}
        baseline_evidence = None if baseline_evidence is None else -baseline_evidence
    sure = _probability(probability)
    told = f"{sure}, not calibrated"
    if calibrated is not None:  # as the nats are, which are those of the decision
        told = f"{sure} before calibration, calibrated {_probability(calibrated)}"
    lead = f"{_nats(evidence)} nats" if evidence >= NEAR_TIE else f"{evidence:.2f} nats, a near tie"
    text = f"{label} rather than {against} by {lead} ({told})"
    if baseline_evidence is not None:
        gain = evidence - baseline_evidence
        text += f", {_nats(abs(gain))} nats {'more' if gain >= 0 else 'less'} than {start}{_where(regions or {})}"
    if taken_for is not None:
        text += f"; the model takes this {thing} for {taken_for}"
    if typicality is not None:
        percentile = f"percentile {100 * typicality:.0f}"
        text += f"; this {thing} is {_typical(typicality)} of the training {thing}s ({percentile})"
    return text + "."


def describe_way(way: Counterfactual, classes: NDArray[Any], thing: str = "face") -> str:
    """Return what a counterfactual is, as the title of its strip: also where it is not what was looked for."""
    taken_for = classes[way.probabilities.argmax()]
    if taken_for == way.label:
        short = "" if way.reached else f" (only {100 * way.probabilities.max():.1f} %, less than asked for)"
        return f"the way to the nearest {thing} taken for {way.label}{short}"
    if not way.found:
        return f"no {thing} taken for {way.label} was found: nothing tried was like the {thing}s that the model knows"
    missed = f"no {thing} surely taken for {way.label} was found"
    return f"{missed}: the way to the surest that was tried, taken for {taken_for}"


def _where(regions: Mapping[Any, float]) -> str:
    """Return the shares of what speaks for it, and the nats against."""
    positive = _largest({name: nats for name, nats in regions.items() if nats > 0})
    total = sum(positive.values())
    for_it = [f"{name} {percent(nats / total)}" for name, nats in positive.items() if nats > LEAST_SHARE * total]
    negative = _largest({name: -nats for name, nats in regions.items() if nats < 0})
    against = [f"{name} {_nats(nats)} nats" for name, nats in negative.items() if nats >= LEAST_DIVIDED]
    text = f"; of what speaks for it: {', '.join(for_it)}" if total >= LEAST_DIVIDED else ""
    return text + (f"; against it: {', '.join(against)}" if against else "")


def _largest(nats: dict[Any, float]) -> dict[Any, float]:
    """Return the nats by falling size; where there are many, those that are not named together at the end."""
    ranked = sorted(nats.items(), key=lambda item: -item[1])
    if len(ranked) <= MOST_NAMED + MOST_OTHERS:
        return dict(ranked)
    return dict(ranked[:MOST_NAMED]) | {"others": sum(more for _, more in ranked[MOST_NAMED:])}


def _nats(amount: float) -> str:
    return f"{amount:.1f}" if amount < MOST_WRITTEN_OUT else f"{amount:.1e}"


def _probability(share: float) -> str:
    if share > SUREST:
        return "over 99.99 %"
    return "under 1 %" if share < 0.005 else percent(share)


def percent(share: float) -> str:
    if 0.995 <= share < 1:
        return f"{min(100 * share, 99.99):.2f} %"
    return f"{100 * share:.0f} %"


def _typical(share: float) -> str:
    return "untypical" if share < 0.05 else "typical"
