"""Calibration: reliability bins of equal mass, and the calibration error, against values worked out by hand."""

import numpy as np
import pytest

from flowexpr.calibration import expected_calibration_error, reliability_bins


@pytest.fixture
def predictions():
    """Return 8 rows of probabilities of two classes, unsorted, and the true class of each."""
    confidence = np.array([0.9, 0.6, 0.9, 0.6, 0.9, 0.6, 0.9, 0.6])
    right = np.array([1, 1, 1, 0, 1, 1, 0, 0], dtype=bool)
    return np.column_stack([confidence, 1 - confidence]), np.where(right, 0, 1)


def test_bins_hold_equal_mass_and_are_sorted_by_confidence(predictions):
    bins = reliability_bins(*predictions, n_bins=2)
    np.testing.assert_allclose(bins.confidence, [0.6, 0.9])
    np.testing.assert_allclose(bins.accuracy, [0.5, 0.75])
    assert bins.n_samples.tolist() == [4, 4]


def test_calibration_error_is_the_mean_distance(predictions):
    assert expected_calibration_error(*predictions, n_bins=2) == pytest.approx((0.1 + 0.15) / 2)


def test_calibration_error_weighs_bins_by_their_samples(predictions):
    proba, y = predictions
    error = expected_calibration_error(proba[:7], y[:7], n_bins=2)  # 3 x 0.6 and one 0.9, then 3 x 0.9
    bins = reliability_bins(proba[:7], y[:7], n_bins=2)
    assert bins.n_samples.tolist() == [4, 3]
    assert error == pytest.approx((4 * abs(bins.confidence - bins.accuracy)[0] + 3 * abs(0.9 - bins.accuracy[1])) / 7)


def test_fewer_samples_than_bins_make_a_bin_each(predictions):
    proba, y = predictions
    assert reliability_bins(proba[:3], y[:3]).n_samples.tolist() == [1, 1, 1]
