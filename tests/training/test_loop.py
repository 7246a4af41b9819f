"""The training loop: schedule, steps, averaging, patience, and what happens to steps that are not finite."""

import math
import time

import numpy as np
import pytest
import torch

from flowexpr import TrainingDivergedError
from flowexpr.training import loop
from flowexpr.training.averaging import WeightAverage
from flowexpr.training.flat import FlatParameters
from flowexpr.training.loop import Trainer


@pytest.fixture
def one_step_an_epoch(tiny, two_features):
    """Return a function that fits with one batch an epoch, so that the history has one row a step."""
    return lambda **changes: tiny(batch_size=64, **changes).fit(*two_features)


def rates(clf):
    return [row["learning_rate"] for row in clf.history_]


def test_one_cycle_rises_over_a_tenth_of_the_steps_and_falls_as_a_cosine(one_step_an_epoch):
    found = rates(one_step_an_epoch(max_epochs=20, schedule="one-cycle", learning_rate=0.01))
    falling = [0.005 * (1 + math.cos(math.pi * k / 18)) for k in range(18)]
    assert found == pytest.approx([0.005, 0.01, *falling])


def test_one_cycle_spans_max_steps_where_they_end_training(one_step_an_epoch):
    found = rates(one_step_an_epoch(max_epochs=1000, max_steps=20, schedule="one-cycle", learning_rate=0.01))
    assert len(found) == 20
    assert found[-1] < 1e-4


def test_constant_schedule_keeps_the_learning_rate(one_step_an_epoch):
    assert rates(one_step_an_epoch(max_epochs=4, schedule="constant", learning_rate=0.01)) == [0.01] * 4


@pytest.mark.parametrize("max_steps", [1, 3, 4, 6])
def test_training_ends_after_max_steps(max_steps, tiny, two_features):
    clf = tiny(batch_size=20, max_epochs=2, max_steps=max_steps).fit(*two_features)  # 3 steps an epoch
    assert clf.n_steps_ == max_steps
    assert len(clf.history_) == math.ceil(max_steps / 3)


def test_training_ends_after_max_epochs(tiny, two_features):
    clf = tiny(batch_size=20, max_epochs=2, max_steps=1000).fit(*two_features)
    assert clf.n_steps_ == 6


def test_loss_falls(tiny, two_features):
    history = tiny(max_epochs=15, learning_rate=0.01).fit(*two_features).history_
    assert history[-1]["bits_per_dim"] < history[0]["bits_per_dim"] - 0.1
    assert history[-1]["class_loss"] < history[0]["class_loss"]


def test_weights_are_an_exponential_moving_average(monkeypatch, tiny, two_features):
    trained = []
    update = WeightAverage.update

    def recording(self):
        names = [name for name, _ in self.model.named_parameters()]
        trained.append({name: p.clone() for name, p in zip(names, self.followed.parameters, strict=True)})
        update(self)

    monkeypatch.setattr(WeightAverage, "update", recording)
    clf = tiny(weight_averaging=0.3, max_steps=7, learning_rate=0.05).fit(*two_features)
    assert len(trained) == 7
    for name, found in clf.module_.named_parameters():
        average = trained[0][name]
        for n, weights in enumerate(trained[1:], start=1):
            decay = min(0.3, (1 + n) / (10 + n))
            average = decay * average + (1 - decay) * weights[name]
        torch.testing.assert_close(found.detach(), average, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(trained[-1][name], p) for name, p in clf.module_.named_parameters())


def test_without_averaging_the_last_weights_predict(monkeypatch, tiny, two_features):
    last = {}
    step = torch.optim.AdamW.step

    def recording(self, *args, **kwargs):
        result = step(self, *args, **kwargs)
        (vector,) = self.param_groups[0]["params"]
        last["weights"] = vector.detach().clone()
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", recording)
    clf = tiny(weight_averaging=0.0).fit(*two_features)
    assert torch.equal(last["weights"], FlatParameters(clf.module_).vector)


@pytest.fixture
def overfitting(tiny, two_features, monkeypatch):
    """Fit so that the validation loss rises again; return the classifier and its trainer."""
    trainers = []
    run = Trainer.run

    def recording(self):
        trainers.append(self)
        run(self)

    monkeypatch.setattr(Trainer, "run", recording)
    X, y = two_features
    shuffled = np.random.default_rng(3).permutation(y)  # nothing to learn but the training rows by heart
    clf = tiny(
        n_flows=2,
        validation_fraction=0.3,
        patience=4,
        max_epochs=400,
        learning_rate=0.02,
        weight_averaging=0.0,
        hidden_channels=32,
    ).fit(X, shuffled)
    return clf, trainers[0]


def validation_losses(clf):
    weight = clf.class_loss_weight
    return [row["val_bits_per_dim"] + weight * row["val_class_loss"] for row in clf.history_]


def test_training_stops_when_patience_ends(overfitting):
    clf, _ = overfitting
    losses = validation_losses(clf)
    assert len(losses) < 400
    assert len(losses) - 1 - int(np.argmin(losses)) == 4


def test_patience_restores_the_best_weights(overfitting):
    clf, trainer = overfitting
    data = trainer.validation
    x, y = data.batch(data.indices, None)
    with torch.inference_mode():
        found = trainer.objective(clf.module_(x.float()), y)
    losses = validation_losses(clf)
    total = found.bits_per_dim + clf.class_loss_weight * found.class_loss
    assert total.item() == pytest.approx(min(losses), rel=1e-5)
    assert max(losses[-4:]) > min(losses) * (1 + 1e-4)


class NaNAt:
    """An augmentation that returns NaN at some of its calls; the first is ActNorm's batch, the second step 1."""

    def __init__(self, steps):
        self.steps = steps
        self.n_calls = 0

    def __call__(self, images, generator):
        self.n_calls += 1
        return images * np.nan if self.n_calls - 1 in self.steps else images

    def __deepcopy__(self, memo):
        return self


def test_step_that_is_not_finite_is_skipped_and_counted(tiny, colour_images):
    clf = tiny(augment=NaNAt({3, 4}), max_epochs=4).fit(*colour_images)  # 2 steps an epoch
    assert [row["skipped_steps"] for row in clf.history_] == [0, 2, 0, 0]
    assert all(torch.isfinite(p).all() for p in clf.module_.parameters())
    assert np.isfinite(clf.predict_proba(colour_images[0])).all()


def test_history_means_leave_skipped_steps_out(tiny, colour_images):
    history = tiny(augment=NaNAt({2}), max_epochs=2).fit(*colour_images).history_
    assert history[0]["skipped_steps"] == 1
    assert all(math.isfinite(row[name]) for row in history for name in ("bits_per_dim", "class_loss", "accuracy"))


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_skipped_step_changes_no_weight(averaging, tiny, colour_images, same_weights):
    plain = tiny(augment=NaNAt(()), max_steps=1, weight_averaging=averaging).fit(*colour_images)
    skipping = tiny(augment=NaNAt({2}), max_steps=2, weight_averaging=averaging).fit(*colour_images)
    assert skipping.n_steps_ == 2
    parameters = zip(plain.module_.parameters(), skipping.module_.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in parameters)


def test_skipped_steps_with_good_ones_between_do_not_end_training(tiny, colour_images):
    clf = tiny(augment=NaNAt(set(range(2, 40, 2))), max_epochs=15).fit(*colour_images)
    assert sum(row["skipped_steps"] for row in clf.history_) == 15


def test_ten_bad_steps_in_a_row_are_an_error_that_names_the_parameter(tiny, colour_images):
    augment = NaNAt(set(range(3, 1000)))
    with pytest.raises(
        TrainingDivergedError,
        match=r"10 training steps in a row had no finite loss or gradient \(step \d+\)\. Lower learning_rate=0\.002 ",
    ):
        tiny(augment=augment, max_epochs=50, learning_rate=0.002).fit(*colour_images)
    assert 0 <= augment.n_calls - (1 + 2 + 10) <= loop.BATCHES_AHEAD + 2  # one waits to be taken in, one is being made


def test_batches_of_images_are_made_ahead_but_few_and_none_in_vain(monkeypatch, tiny, colour_images):
    made, used, most = 0, 0, 0

    def augment(images, generator):
        nonlocal made, most
        made += 1
        most = max(most, made - used)
        return images

    step = Trainer._train_step

    def counting(self, x, y):
        nonlocal used
        used += 1
        time.sleep(0.02)  # long enough for every batch of the epoch
        step(self, x, y)

    monkeypatch.setattr(Trainer, "_train_step", counting)
    clf = tiny(augment=augment, batch_size=1, max_epochs=3, max_steps=30).fit(*colour_images)  # 24 steps an epoch
    assert made == 1 + clf.n_steps_ == 31  # the first is ActNorm's
    assert 3 <= most <= 1 + loop.BATCHES_AHEAD + 2


def test_training_of_bad_steps_alone_is_an_error_however_short(tiny, colour_images):
    with pytest.raises(TrainingDivergedError, match=r"2 training steps in a row .* NaN in what a function augment"):
        tiny(augment=NaNAt({1, 2}), max_steps=2).fit(*colour_images)


def test_steps_too_large_for_the_flow_they_led_to_are_an_error(tiny, colour_images):
    clf = tiny(learning_rate=100.0, schedule="constant", max_epochs=1, max_steps=1)  # one finite step, far too far
    with pytest.raises(TrainingDivergedError, match=r"not finite\. Lower learning_rate=100 \(a third"):
        clf.fit(*colour_images)
    with pytest.raises(ValueError, match="not fitted yet"):
        clf.predict(colour_images[0])


def test_diverged_estimator_is_not_fitted(tiny, colour_images):
    clf = tiny(augment=NaNAt(set(range(1, 1000))), max_epochs=50)
    with pytest.raises(TrainingDivergedError):
        clf.fit(*colour_images)
    with pytest.raises(ValueError, match="not fitted yet"):
        clf.predict(colour_images[0])


def test_gradients_are_clipped(monkeypatch, tiny, two_features):
    norms = []
    step = torch.optim.AdamW.step

    def recording(self, *args, **kwargs):
        grads = [p.grad for p in self.param_groups[0]["params"]]
        norms.append(torch.linalg.vector_norm(torch.cat([g.flatten() for g in grads])).item())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", recording)
    monkeypatch.setattr(loop, "LARGEST_GRADIENT", 0.01)
    tiny().fit(*two_features)
    assert max(norms) <= 0.01 * (1 + 1e-4)


def test_verbose_shows_a_progress_bar_on_stderr(tiny, two_features, capsys):
    tiny(verbose=1, max_epochs=2).fit(*two_features)
    captured = capsys.readouterr()
    assert "8/8" in captured.err
    assert captured.out == ""


def test_the_bar_says_which_of_two_trainings_it_is_of(tiny, two_features, capsys):
    tiny(verbose=1, max_epochs=2, calibrate="temperature").fit(*two_features)
    first, second = capsys.readouterr().err.strip().split("\n")
    assert "fit and calibrate: 100%" in first
    assert "calibrate" not in second


def test_verbose_two_writes_a_line_an_epoch(tiny, two_features, capsys):
    tiny(verbose=2, max_epochs=2).fit(*two_features)
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("bits_per_dim=") >= 2


def test_silent_by_default(tiny, two_features, capsys):
    tiny().fit(*two_features)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_the_averaged_weights_are_validated(two_features, tiny, trainers):
    X, y = two_features
    clf = tiny(max_epochs=4, validation_fraction=0.3, weight_averaging=0.9, learning_rate=0.02).fit(X, y)
    held_out = trainers[0].validation.indices
    log_proba = clf.predict_log_proba(X[held_out])[np.arange(len(held_out)), y[held_out]]
    assert clf.history_[-1]["val_class_loss"] == pytest.approx(-log_proba.mean(), rel=1e-3)
