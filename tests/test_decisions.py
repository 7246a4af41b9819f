"""Abstaining: which predictions are masked, by confidence and by share."""

import numpy as np
import pytest
import torch

from flowexpr.decisions import LogitClassifierMixin

CONFIDENCE = np.array([0.9, 0.55, 0.8, 0.7, 0.95])


class Fixed(LogitClassifierMixin):
    """A classifier of two labels whose i-th row has the i-th confidence in "joy"."""

    classes_ = np.array(["fear", "joy"])

    def _logits(self, X):
        confidence = CONFIDENCE[np.asarray(X)]
        return np.log(np.column_stack([1 - confidence, confidence]))


@pytest.fixture
def clf():
    return Fixed()


def test_what_is_less_sure_than_min_confidence_is_masked(clf):
    y = clf.predict_with_reject(np.arange(5), min_confidence=0.75)
    assert y.mask.tolist() == [False, True, False, True, False]
    assert y.compressed().tolist() == ["joy"] * 3


def test_reject_rate_masks_the_least_sure_share(clf):
    assert clf.predict_with_reject(np.arange(5), reject_rate=0.2).mask.tolist() == [False, True, False, False, False]
    assert clf.predict_with_reject(np.arange(5), reject_rate=0.6).mask.sum() == 3


def test_with_both_a_prediction_has_to_pass_both(clf):
    y = clf.predict_with_reject(np.arange(5), min_confidence=0.85, reject_rate=0.2)
    assert y.mask.tolist() == [False, True, True, True, False]


def test_nothing_and_everything_can_be_rejected(clf):
    nothing = clf.predict_with_reject(np.arange(5), reject_rate=0.0)
    assert nothing.mask.tolist() == [False] * 5
    assert np.array_equal(nothing.data, clf.predict(np.arange(5)))
    assert clf.predict_with_reject(np.arange(5), reject_rate=1.0).mask.all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"min_confidence or reject_rate was expected, but both are None\. Pass min_confidence=0\.8"),
        ({"min_confidence": 1.2}, r"min_confidence was expected to be a number within 0\.\.1, but is 1\.2\."),
        ({"min_confidence": "0.8"}, r"min_confidence was expected to be a number within 0\.\.1, but is '0\.8'\."),
        ({"min_confidence": True}, r"min_confidence was expected to be a number within 0\.\.1, but is True\."),
        ({"reject_rate": np.nan}, r"reject_rate was expected to be a number within 0\.\.1, but is nan\."),
        ({"reject_rate": [0.2]}, r"reject_rate was expected to be a number within 0\.\.1, but is \[0\.2\]\."),
    ],
)
def test_what_cannot_choose_is_refused(clf, given, message):
    with pytest.raises(ValueError, match=message):
        clf.predict_with_reject(np.arange(5), **given)


@pytest.mark.parametrize("number", [np.float32(0.75), np.int64(1)])
def test_numpy_numbers_will_do(clf, number):
    given = clf.predict_with_reject(np.arange(5), min_confidence=number)
    assert np.array_equal(given.mask, clf.predict_with_reject(np.arange(5), min_confidence=float(number)).mask)


@pytest.mark.parametrize(
    ("labels", "unlabeled"),
    [
        (["a", "b", "?x", -1], -1),
        ([[0], [1], [2], [-1]], -1),
        ([1, 2, 1, "?"], "?"),
        (np.array([1, 2, 1, "?"], dtype=object), "?"),
        (np.array([True, False, True, -1], dtype=object), -1),
        (np.array([0, 1, 2, 1], dtype=object), None),
        (torch.tensor([0.0, 1.0, 2.0, 1.0], requires_grad=True), None),
    ],
    ids=["mixed list", "column", "numbers and a string", "objects", "booleans", "boxed numbers", "tensor"],
)
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_labels_that_can_be_fitted_can_be_scored(labels, unlabeled, tiny):
    y = labels * 10 if isinstance(labels, list) else labels.repeat(10)
    X = np.random.default_rng(0).normal(size=(40, 3))
    clf = tiny(unlabeled=unlabeled, max_steps=3).fit(X, y)
    truth = [one[0] if isinstance(one, list) else one for one in (y.tolist() if hasattr(y, "tolist") else y)]
    right = [a == b for a, b in zip(clf.predict(X).tolist(), truth, strict=True) if unlabeled is None or b != unlabeled]
    assert len(right) == (40 if unlabeled is None else 30)
    assert clf.score(X, y) == np.mean(right)
    assert len(clf.oversample(X, y)[0]) >= 40
