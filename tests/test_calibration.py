"""Calibration: the temperature, reliability bins of equal mass, and the calibration error beside chance."""

import numpy as np
import pytest
from scipy.special import log_softmax

from flowexpr.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
    simulate_calibration_error,
)


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


def test_fewer_samples_than_bins_make_a_bin_each(predictions):
    proba, y = predictions
    assert reliability_bins(proba[:3], y[:3]).n_samples.tolist() == [1, 1, 1]


def test_temperature_has_the_smallest_log_loss():
    random_state = np.random.default_rng(0)
    y = random_state.integers(0, 3, 2000)
    logits = random_state.normal(size=(2000, 3))
    logits[np.arange(2000), y] += 1.0
    found = fit_temperature(5 * logits, np.log(np.full(3, 1 / 3)), y)

    def loss(temperature):
        return -log_softmax(5 * logits / temperature, axis=1)[np.arange(2000), y].mean()

    assert 3 < found < 8
    assert loss(found) < min(loss(found * 1.02), loss(found / 1.02))


def test_temperature_does_not_divide_the_prior():
    log_prior = np.log([0.9, 0.1])
    y = np.array([0] * 90 + [1] * 10)
    logits = np.random.default_rng(0).normal(size=(100, 2)) * 100  # worthless: the best is to trust the prior alone
    assert fit_temperature(logits, log_prior, y) > 50


def test_temperature_of_perfect_separation_is_finite():
    y = np.arange(20) % 2
    found = fit_temperature(100.0 * np.eye(2)[y], np.log([0.5, 0.5]), y)
    assert 0.2 < found <= 1


def test_few_samples_leave_the_temperature_near_one():
    """Three people who are all recognised ask for endless certainty; that is no evidence for it."""
    y = np.repeat(np.arange(2), 30)
    logits = 2.0 * np.eye(2)[y]
    even = np.log([0.5, 0.5])
    alone = fit_temperature(logits, even, y)
    of_three = fit_temperature(logits, even, y, np.arange(60) % 3)
    assert alone < of_three < 1
    assert of_three > 0.5


def test_groups_of_one_sample_each_change_nothing():
    y = np.random.default_rng(0).integers(0, 3, 40)
    logits = np.random.default_rng(1).normal(size=(40, 3))
    even = np.zeros(3)
    assert fit_temperature(logits, even, y, np.arange(40)) == fit_temperature(logits, even, y)


def test_simulated_error_is_what_perfect_probabilities_show():
    random = np.random.default_rng(0)
    proba = random.dirichlet([1, 1, 1], 300)
    y = np.array([random.choice(3, p=row) for row in proba])
    simulated = simulate_calibration_error(proba, n_draws=200)
    assert simulated.shape == (200,)
    assert np.quantile(simulated, 0.01) < expected_calibration_error(proba, y) < np.quantile(simulated, 0.99)
    too_sure = proba**4 / (proba**4).sum(1, keepdims=True)
    assert expected_calibration_error(too_sure, y) > simulate_calibration_error(too_sure, n_draws=200).max()


@pytest.mark.parametrize(
    ("proba", "y", "message"),
    [
        ([[0.8, 0.2]] * 2, [[0], [1]], r"one true class was expected for each of 2 rows .* has shape \(2, 1\)"),
        ([[0.8, 0.2]] * 2, [0], r"for each of 2 rows of probabilities, but y has shape \(1,\)"),
        ([[0.8, 0.2]] * 2, ["anger", "fear"], "integers from 0 to 1, but y holds 'anger'"),
        ([[0.8, 0.2]] * 2, [0, 2], "integers from 0 to 1"),
        ([[80, 20]] * 2, [0, 1], "a sum of 1, but they run from 20 to 80, and sums from 100 to 100"),
        ([[0.8, np.nan]] * 2, [0, 1], "rows of probabilities were expected"),
        ([[-0.2, -1.6]] * 2, [0, 1], "rows of probabilities were expected, none below 0"),
        ([0.8, 0.2], [0, 1], r"of shape \(n_samples, n_classes\) were expected, but have shape \(2,\)"),
        (np.empty((0, 2)), [], "were expected, but have shape"),
    ],
)
def test_what_are_no_predictions_is_refused(proba, y, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(proba, y)


@pytest.mark.parametrize("n_bins", [0, 2.5, "10", True])
def test_numbers_of_bins_that_count_nothing_are_refused(n_bins):
    with pytest.raises(ValueError, match=f"n_bins={n_bins!r} was expected to be an integer of at least 1"):
        reliability_bins([[0.8, 0.2]], [0], n_bins)
    with pytest.raises(ValueError, match="n_bins="):
        simulate_calibration_error([[0.8, 0.2]], n_bins)


def test_simulated_errors_of_unsure_probabilities_are_small():
    even = np.full((4000, 6), 1 / 6)
    assert simulate_calibration_error(even.tolist(), n_bins=1, n_draws=50).max() < 0.03
