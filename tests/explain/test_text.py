"""The sentence: what it names, of what its shares are, and what it leaves out."""

import numpy as np
import pytest

from flowexpr.explain.counterfactual import Counterfactual
from flowexpr.explain.text import describe, describe_way

REGIONS = {"mouth": 0.3, "chin": 0.1, "elsewhere": -0.5}


def say(evidence=1.0, **changes):
    known = {"probability": 0.6, "calibrated": None, "typicality": None, "regions": None, "baseline_evidence": None}
    return describe("fear", "anger", evidence, **known | {"start": "the neutral face given"} | changes)


@pytest.mark.parametrize(("evidence", "said"), [(0.199, "by 0.20 nats, a near tie (60 %"), (0.2, "by 0.2 nats (60 %")])
def test_a_near_tie_is_called_one(evidence, said):
    assert said in say(evidence)


def test_the_sentence_says_of_what_its_shares_are():
    assert say(regions=REGIONS, baseline_evidence=1.1) == (
        "fear rather than anger by 1.0 nats (60 %, not calibrated), 0.1 nats less than the neutral face given; of what "
        "speaks for it: mouth 75 %, chin 25 %; against it: elsewhere 0.5 nats."
    )


def test_evidence_for_the_other_class_is_told_of_that_class():
    text = say(-1.0, regions=REGIONS, baseline_evidence=-0.9)
    assert text.startswith("anger rather than fear by 1.0 nats")
    assert text.endswith("; of what speaks for it: elsewhere 100 %; against it: mouth 0.3 nats, chin 0.1 nats.")


def test_both_figures_of_a_calibrated_model_are_told():
    assert "(99.99 % before calibration, calibrated 93 %)" in say(probability=0.99992, calibrated=0.93)


def test_of_many_features_the_largest_are_named():
    many = {f"x{i}": float(8 - i) for i in range(8)} | {f"y{i}": -1.0 - i for i in range(8)}
    text = say(regions=many, baseline_evidence=0.0)
    assert "of what speaks for it: x0 22 %, x1 19 %, x2 17 %, x3 14 %, x4 11 %, others 17 %;" in text
    assert "against it: y7 8.0 nats, y6 7.0 nats, y5 6.0 nats, y4 5.0 nats, y3 4.0 nats, others 6.0 nats." in text


def test_nats_beyond_a_million_are_powers_of_ten():
    text = say(1.2345e30, regions={"x0": 2e25, "x1": -3e7}, baseline_evidence=1.2344e30)
    assert "by 1.2e+30 nats" in text
    assert "1.0e+26 nats more" in text
    assert "against it: x1 3.0e+07 nats" in text


def test_what_the_model_says_instead_is_told():
    assert say(taken_for="joy").endswith("; the model takes this face for joy.")


@pytest.mark.parametrize(
    ("probability", "told"), [(1.0, "over 99.99 %"), (1 - 1e-9, "over 99.99 %"), (0.004, "under 1 %")]
)
def test_a_probability_is_never_told_as_certain(probability, told):
    assert f"({told}, not calibrated)" in say(probability=probability, calibrated=None)


def test_no_shares_of_rounding_are_told():
    text = say(regions={"mouth": 0.02, "eyes": 0.01}, baseline_evidence=0.0)
    assert "of what speaks for it" not in text


@pytest.mark.parametrize(
    ("probabilities", "reached", "told"),
    [
        ([0.05, 0.95], True, "the way to the nearest face taken for fear"),
        ([0.104, 0.896], False, "the way to the nearest face taken for fear (only 89.6 %, less than asked for)"),
        (
            [0.6, 0.4],
            False,
            "no face surely taken for fear was found: the way to the surest that was tried, taken for anger",
        ),
    ],
)
def test_a_counterfactual_is_called_what_it_is(probabilities, reached, told):
    strip = np.arange(8).reshape(2, 2, 2)
    way = Counterfactual("fear", strip[1], np.array(probabilities), reached, True, strip, np.array([probabilities] * 2))
    assert describe_way(way, np.array(["anger", "fear"])) == told
