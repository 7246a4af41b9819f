"""Equations 2 to 6, recomputed by hand from a small table of log-likelihoods."""

import math

import numpy as np
import pytest
import torch

from flowexpr.flows.model import ClassLogProb
from flowexpr.training.objective import UNLABELLED, ClassObjective, Objective

SHARED = [-4.0, -7.0, -5.0, -6.0]
BY_CLASS = [[-1.0, -2.0, -3.0], [-2.5, -0.5, -4.0], [-3.0, -3.5, -1.0], [-0.2, -2.2, -1.2]]
PRIOR = [0.5, 0.3, 0.2]
Y = [0, 2, 2, 0]
N_DIMS = 7
LOG_VOLUME = 1.5


def losses(y=Y, **options):
    settings = {"class_loss_weight": 0.3, "label_smoothing": 0.0, "class_weight": torch.ones(3).double(), **options}
    log_prior = torch.tensor(PRIOR, dtype=torch.float64).log()
    objective = Objective(log_prior, n_dims=N_DIMS, log_volume=LOG_VOLUME, **settings)
    table = ClassLogProb(torch.tensor(SHARED, dtype=torch.float64), torch.tensor(BY_CLASS, dtype=torch.float64))
    return objective(table, torch.tensor(y))


def log_posterior(row):
    """Return log p(y = i | x) of a row of the table, by Bayes' rule."""
    joint = [math.exp(BY_CLASS[row][i]) * PRIOR[i] for i in range(3)]
    return [math.log(value / sum(joint)) for value in joint]


def test_conditional_loss_is_the_true_classs_likelihood_in_bits_per_dimension():
    log_prob = [SHARED[n] + BY_CLASS[n][label] + LOG_VOLUME for n, label in enumerate(Y)]  # equation 2
    expected = -np.mean(log_prob) / (N_DIMS * math.log(2))  # equation 3
    assert losses().bits_per_dim.item() == pytest.approx(expected, rel=1e-12)


def test_class_loss_is_the_cross_entropy_of_the_posterior_in_nats():
    expected = -np.mean([log_posterior(n)[label] for n, label in enumerate(Y)])  # equations 4 and 5
    assert losses().class_loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_total_is_the_sum_with_lambda(weight):
    found = losses(class_loss_weight=weight)
    expected = found.bits_per_dim + weight * found.class_loss  # equation 6
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-12)


def test_prediction_is_the_class_with_the_largest_joint_probability():
    # Row 3 of the table: class 0 is likelier and commoner; row 1: class 1, though its label says 2.
    assert losses().n_correct.item() == 3


def test_prior_decides_between_equal_likelihoods():
    objective = Objective(
        torch.tensor([0.2, 0.8]).log(),
        class_loss_weight=1.0,
        label_smoothing=0.0,
        class_weight=torch.ones(2),
        n_dims=1,
        log_volume=0.0,
    )
    equal = ClassLogProb(torch.zeros(1), torch.zeros(1, 2))
    assert objective(equal, torch.tensor([1])).n_correct == 1
    assert objective(equal, torch.tensor([0])).n_correct == 0


def test_unlabelled_row_enters_through_the_sum_over_classes():
    y = [0, UNLABELLED, 2, UNLABELLED]
    log_prob = []
    for n, label in enumerate(y):
        over_classes = math.log(sum(math.exp(BY_CLASS[n][i]) * PRIOR[i] for i in range(3)))
        log_prob.append(SHARED[n] + LOG_VOLUME + (over_classes if label == UNLABELLED else BY_CLASS[n][label]))
    expected = -np.mean(log_prob) / (N_DIMS * math.log(2))
    assert losses(y).bits_per_dim.item() == pytest.approx(expected, rel=1e-12)


def test_class_loss_is_of_labelled_rows_alone():
    found = losses([0, UNLABELLED, 2, UNLABELLED])
    assert found.class_loss.item() == pytest.approx(-(log_posterior(0)[0] + log_posterior(2)[2]) / 2, rel=1e-12)
    assert found.n_correct.item() == 2


def test_class_loss_of_a_batch_without_labels_is_zero():
    found = losses([UNLABELLED] * 4)
    assert found.class_loss.item() == 0
    assert found.total.item() == found.bits_per_dim.item()


def test_class_weights_weigh_the_class_loss():
    weight = [1.0, 5.0, 3.0]
    terms = [(weight[label], -log_posterior(n)[label]) for n, label in enumerate(Y)]
    expected = sum(w * loss for w, loss in terms) / sum(w for w, _ in terms)
    found = losses(class_weight=torch.tensor(weight, dtype=torch.float64))
    assert found.class_loss.item() == pytest.approx(expected, rel=1e-12)
    assert found.bits_per_dim.item() == losses().bits_per_dim.item()


def test_label_smoothing_spreads_a_share_of_the_target():
    share = 0.1
    terms = []
    for n, label in enumerate(Y):
        target = [share / 3 + (1 - share) * (i == label) for i in range(3)]
        terms.append(-sum(t * log_p for t, log_p in zip(target, log_posterior(n), strict=True)))
    assert losses(label_smoothing=share).class_loss.item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_both_losses_have_gradients():
    objective = Objective(
        torch.tensor(PRIOR).log(),
        class_loss_weight=0.3,
        label_smoothing=0.0,
        class_weight=torch.ones(3),
        n_dims=N_DIMS,
        log_volume=0.0,
    )
    shared, by_class = torch.tensor(SHARED, requires_grad=True), torch.tensor(BY_CLASS, requires_grad=True)
    objective(ClassLogProb(shared, by_class), torch.tensor(Y)).total.backward()
    # L_cond pulls every sample by 1 / (n dims ln 2); L_class moves the true class up and the others down.
    torch.testing.assert_close(shared.grad, torch.full((4,), -1 / (4 * N_DIMS * math.log(2))))
    assert (by_class.grad[torch.arange(4), torch.tensor(Y)] < 0).all()
    assert by_class.grad[0, 1] > 0


def test_label_smoothing_of_a_classifier_is_a_share_of_all_classes():
    y, share = torch.tensor([0, 1, 2, 0, 1, 2]), 0.3
    logits = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = ClassObjective(label_smoothing=share, class_weight=torch.ones(3).double())(logits, y)
    log_proba = logits.log_softmax(1)
    by_hand = (1 - share) * log_proba[torch.arange(6), y] + share * log_proba.mean(1)
    assert found.class_loss.item() == pytest.approx(-by_hand.mean().item(), rel=1e-12)
