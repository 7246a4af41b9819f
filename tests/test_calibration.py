"""The calibration error, against cases that can be counted by hand."""

import numpy as np
import pytest

from flowexpr.calibration import expected_calibration_error


def two_classes(confidence):
    confidence = np.asarray(confidence, dtype=float)
    return np.column_stack([confidence, 1 - confidence])


def test_confidence_that_is_right_as_often_as_it_says_has_no_error():
    assert expected_calibration_error(two_classes([0.8] * 100), [0] * 80 + [1] * 20, n_bins=1) == pytest.approx(0)


def test_bins_hold_equally_many_samples():
    confidence = [0.6] * 10 + [0.9] * 10  # one bin of each: 60 % sure and always right, 90 % sure and right in half
    y = [0] * 10 + [0, 1] * 5
    assert expected_calibration_error(two_classes(confidence), y, n_bins=2) == pytest.approx((0.4 + 0.4) / 2)


def test_order_of_samples_does_not_matter():
    random = np.random.default_rng(0)
    proba, y = random.dirichlet([1, 1, 1], 200), random.integers(0, 3, 200)
    shuffled = random.permutation(200)
    assert expected_calibration_error(proba, y) == pytest.approx(
        expected_calibration_error(proba[shuffled], y[shuffled])
    )


def test_fewer_samples_than_bins():
    assert expected_calibration_error([[1.0, 0.0]], [1]) == 1
