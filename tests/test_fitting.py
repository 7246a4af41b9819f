"""Fitting: prior, held-out rows, history, calibration, warm start, Ctrl-C, determinism, the paper's settings."""

import copy
import math
import random

import numpy as np
import pytest
import torch
import torch.utils.flop_counter
from scipy.special import log_softmax
from sklearn.model_selection import GroupShuffleSplit

import flowexpr.fitting
from flowexpr import PAPER, FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.calibration import fit_temperature
from flowexpr.fitted import predictor_of
from flowexpr.parameters import resolve_max_epochs
from flowexpr.training.loop import Trainer
from flowexpr.typicality import TypicalityReference


def test_empirical_prior_counts_labelled_rows(two_features, tiny):
    X, _ = two_features
    y = np.array([0] * 30 + [1] * 20 + [2] * 5 + [-1] * 5)
    clf = tiny(max_steps=1, unlabeled=-1).fit(X, y)
    np.testing.assert_allclose(np.exp(clf.log_prior_), np.array([30, 20, 5]) / 55)


@pytest.mark.parametrize("kind", ["flow", "cnn"])
def test_labels_of_held_out_rows_enter_neither_prior_nor_weights(kind, draw_images, tiny, trainers):
    X, y = draw_images(n=48)
    groups = np.arange(48) // 8
    settings = {"validation_fraction": 0.1, "class_weight": "balanced", "max_steps": 1, "random_state": 0}
    clf = tiny(**settings) if kind == "flow" else CNNExpressionClassifier(hidden_channels=4, n_features=6, **settings)
    clf.fit(X, y, groups=groups)
    held_out, training = trainers[0].validation.indices, trainers[0].data.indices
    y[held_out] = y[training[0]]
    clf.fit(X, y, groups=groups)
    counts = np.bincount(np.unique(y, return_inverse=True)[1][training])
    weights = trainers[1].objective.class_weight.cpu().numpy()
    np.testing.assert_allclose(weights, counts.sum() / (len(counts) * counts), rtol=1e-6)
    if kind == "flow":
        np.testing.assert_allclose(clf.log_prior_, -np.log(len(counts)))
        plain = tiny(**settings | {"class_weight": None}).fit(X, y, groups=groups)
        np.testing.assert_allclose(np.exp(plain.log_prior_), counts / counts.sum())


def test_uniform_prior(two_features, tiny):
    clf = tiny(max_steps=1, class_prior="uniform").fit(two_features[0], np.array([0] * 40 + [1] * 20))
    np.testing.assert_allclose(np.exp(clf.log_prior_), [0.5, 0.5])


def test_class_weight_weighs_the_prior(two_features, tiny):
    X, _ = two_features
    y = np.array([0] * 40 + [1] * 20)
    np.testing.assert_allclose(np.exp(tiny(max_steps=1, class_weight="balanced").fit(X, y).log_prior_), [0.5, 0.5])
    weighted = tiny(max_steps=1, class_weight={0: 1.0, 1: 6.0}).fit(X, y)
    np.testing.assert_allclose(np.exp(weighted.log_prior_), [0.25, 0.75])


def test_class_weight_enters_the_class_loss(two_features, tiny, same_weights):
    X, y = two_features
    # A prior that undoes the weights leaves the class loss as the only place where they act.
    weighted = tiny(class_weight={0: 4.0, 1: 1.0, 2: 1.0}, class_prior=[1 / 9, 4 / 9, 4 / 9]).fit(X, y)
    plain = tiny().fit(X, y)
    np.testing.assert_allclose(weighted.log_prior_, plain.log_prior_)
    assert not same_weights(weighted, plain)


@pytest.fixture
def trainers(monkeypatch):
    """List the trainers that run."""
    seen = []
    run = Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda self: (seen.append(self), run(self))[1])
    return seen


def test_validation_by_group_holds_out_whole_groups(two_features, tiny, trainers):
    X, y = two_features
    groups = np.arange(60) // 6
    clf = tiny(validation_fraction=0.2, max_epochs=2).fit(X, y, groups=groups)
    held_out, training = trainers[0].validation.indices, trainers[0].data.indices
    assert clf.validation_ == "by group"
    assert not set(groups[held_out]) & set(groups[training])
    assert len(set(groups[held_out])) == 2
    assert sorted([*held_out, *training]) == list(range(60))


def test_unlabelled_rows_of_held_out_groups_are_not_trained_on(two_features, tiny, trainers):
    X, y = two_features
    groups = np.arange(60) // 6
    y = np.where(np.arange(60) % 6 < 3, y, -1)
    tiny(validation_fraction=0.2, max_steps=2, unlabeled=-1).fit(X, y, groups=groups)
    held_out, training = trainers[0].validation.indices, trainers[0].data.indices
    assert (y[held_out] != -1).all()
    assert not set(groups[held_out]) & set(groups[training])


def test_random_validation_holds_out_every_class_alike(two_features, tiny, trainers):
    X, y = two_features
    clf = tiny(validation_fraction=0.2, max_epochs=2).fit(X, y)
    held_out = trainers[0].validation.indices
    assert clf.validation_ == "random"
    assert np.bincount(y[held_out]).tolist() == [4, 4, 4]
    assert not set(held_out) & set(trainers[0].data.indices)


def test_without_validation_every_row_is_trained_on(two_features, tiny, trainers):
    clf = tiny(max_epochs=2).fit(*two_features, groups=np.arange(60) // 6)
    assert clf.validation_ == "none"
    assert trainers[0].validation is None
    assert len(trainers[0].data.indices) == 60


HISTORY = ["epoch", "steps", "learning_rate", "bits_per_dim", "class_loss", "accuracy", "skipped_steps"]


def test_history_has_a_row_an_epoch(two_features, tiny):
    history = tiny(max_epochs=3).fit(*two_features).history_
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row["steps"] for row in history] == [4, 8, 12]
    assert all(list(row) == [*HISTORY, "seconds"] for row in history)
    assert all(type(value) in (int, float) and math.isfinite(value) for row in history for value in row.values())


def test_history_has_validation_columns_where_rows_are_held_out(two_features, tiny):
    history = tiny(max_epochs=2, validation_fraction=0.2).fit(*two_features).history_
    validation = ["val_bits_per_dim", "val_class_loss", "val_accuracy"]
    assert all(row["validation"] == "random" for row in history)
    assert all(list(row) == [*HISTORY, *validation, "seconds", "validation"] for row in history)


def test_history_says_what_the_model_does(two_features, tiny, trainers):
    X, y = two_features
    clf = tiny(max_epochs=4, validation_fraction=0.3, weight_averaging=0.0).fit(X, y)
    held_out = trainers[0].validation.indices
    last = clf.history_[-1]
    assert last["val_accuracy"] == clf.score(X[held_out], y[held_out])
    log_proba = clf.predict_log_proba(X[held_out])[np.arange(len(held_out)), y[held_out]]
    assert last["val_class_loss"] == pytest.approx(-log_proba.mean(), rel=1e-3)
    log_likelihood = clf.class_log_likelihood(X[held_out])[np.arange(len(held_out)), y[held_out]]
    assert last["val_bits_per_dim"] == pytest.approx(-log_likelihood.mean() / (2 * math.log(2)), rel=1e-3)


def test_calibration_uses_rows_that_training_never_sees(two_features, tiny, trainers):
    X, y = two_features
    clf = tiny(calibrate="temperature", validation_fraction=0.1, max_epochs=2).fit(X, y, groups=np.arange(60) // 6)
    (trainer,) = trainers
    held_out = trainer.validation.indices
    assert len(held_out) == 6
    assert clf.validation_ == "by group"
    assert not set(held_out) & set(trainers[0].data.indices)
    log_likelihood = clf.class_log_likelihood(X[held_out])
    by_hand = fit_temperature(log_likelihood, clf.log_prior_, y[held_out], held_out // 6)
    assert clf.temperature_ == pytest.approx(by_hand, rel=1e-3)


def test_a_calibrated_model_is_the_other_one_with_a_temperature_of_people_held_out(
    two_features, tiny, trainers, same_weights
):
    X, y = two_features
    groups = np.arange(60) // 6
    clf = tiny(calibrate="temperature", max_epochs=2).fit(X, y, groups=groups)
    first, second = trainers
    assert len(np.unique(groups[first.validation.indices])) == 1
    assert second.validation is None
    assert len(second.data.indices) == 60
    assert clf.validation_ == "by group"
    assert clf.temperature_ != 1
    plain = tiny(max_epochs=2).fit(X, y, groups=groups)
    assert same_weights(clf, plain)
    by_class = clf.class_log_likelihood(X)
    tempered = by_class / clf.temperature_ + clf.log_prior_
    np.testing.assert_allclose(clf.predict_log_proba(X), log_softmax(tempered, axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_th", [3, 30])
def test_ctrl_c_while_calibrating_leaves_a_fitted_estimator(n_th, colour_images, tiny):
    X, y = colour_images
    clf = tiny(augment=InterruptAt(n_th), max_epochs=9, calibrate="temperature")
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y, groups=np.arange(24) // 3)
    assert clf.validation_fraction is None
    assert clf.validation_ == "by group"
    assert np.isfinite(clf.predict_proba(X)).all()


def test_groups_are_drawn_as_scikit_learn_draws_them(two_features, tiny, trainers):
    X, y = two_features
    groups = np.arange(60) // 6
    clf = tiny(validation_fraction=0.3, max_steps=1).fit(X, y, groups=groups)
    by_hand = next(GroupShuffleSplit(1, test_size=3, random_state=clf.seed_).split(X, y, groups))[1]
    assert np.array_equal(trainers[0].validation.indices, by_hand)


@pytest.mark.parametrize("settings", [{"calibrate": "temperature"}, {"validation_fraction": 0.4}], ids=str)
def test_who_alone_shows_a_class_is_never_held_out(settings, two_features, tiny, trainers):
    X, y = two_features
    groups = np.where(y == 2, 0, np.arange(60) % 5)  # class 2 is shown by the first of five people alone
    for seed in range(15):
        tiny(max_steps=1, random_state=seed, **settings).fit(X, y, groups=groups)
    held_out = [set(groups[trainer.validation.indices]) for trainer in trainers if trainer.validation is not None]
    assert {len(people) for people in held_out} == {2 if "validation_fraction" in settings else 1}
    assert set.union(*held_out) == {1, 2, 3, 4}


ONE_OF_TWO_ONLY = np.array([0, 1, 2])[np.arange(60) % 3] + (np.arange(60) == 5)
"""Persons 2 and 3 show the last class, persons 0 and 1 each another one alone."""


def test_calibration_makes_do_with_fewer_groups(two_features, tiny, trainers):
    X, y = two_features
    tiny(max_steps=1, calibrate="temperature", validation_fraction=0.5).fit(X, y, groups=ONE_OF_TWO_ONLY)
    assert set(ONE_OF_TWO_ONLY[trainers[0].validation.indices]) in ({2}, {3})


def test_validation_of_fewer_groups_than_asked_for_is_an_error(two_features, tiny):
    X, y = two_features
    with pytest.raises(ValueError, match=r"no training row is left of class .* lower validation_fraction"):
        tiny(max_steps=1, validation_fraction=0.5).fit(X, y, groups=ONE_OF_TWO_ONLY)


def test_calibration_where_nobody_can_be_held_out_is_an_error(two_features, tiny):
    X, y = two_features
    with pytest.raises(ValueError, match=r"holding out \d+ rows \(by group\), no training row is left of class"):
        tiny(calibrate="temperature").fit(X, y, groups=y)


def test_calibration_on_images_without_groups_is_warned_of(colour_images, tiny):
    expected = r"calibrate='temperature' came without groups, .* Pass the subject of every row as groups\."
    with pytest.warns(UserWarning, match=expected):
        tiny(calibrate="temperature", max_steps=1).fit(*colour_images)


def test_calibration_of_vectors_needs_no_groups(two_features, tiny):
    # A warning would be an error here.
    assert tiny(calibrate="temperature", max_steps=1).fit(*two_features).validation_ == "random"


def test_without_calibration_the_temperature_is_one(fitted_images):
    assert fitted_images.temperature_ == 1


def test_warm_start_goes_on_from_the_fitted_weights(two_features, tiny):
    X, y = two_features
    clf = tiny(warm_start=True, max_epochs=10, learning_rate=0.01).fit(X, y)
    first = clf.history_
    clf.fit(X, y)
    assert clf.history_[0]["bits_per_dim"] < first[0]["bits_per_dim"]
    assert abs(clf.history_[0]["bits_per_dim"] - first[-1]["bits_per_dim"]) < 0.3


def test_warm_start_that_calibrates_on_rows_trained_on_before_is_warned_of(two_features, tiny):
    X, y = two_features
    groups = np.arange(60) // 6
    clf = tiny(warm_start=True, max_epochs=1).fit(X, y, groups=groups)
    with pytest.warns(UserWarning, match="warm_start=True goes on from a fit that held other rows out"):
        clf.set_params(calibrate="temperature", validation_fraction=0.1).fit(X, y, groups=groups)
    clf.fit(X, y, groups=groups)  # the same rows are held out again
    clf.set_params(validation_fraction=None).fit(X, y, groups=groups)  # a first training starts anew


def test_without_warm_start_a_second_fit_begins_anew(two_features, tiny, same_weights):
    clf = tiny().fit(*two_features)
    assert same_weights(copy.deepcopy(clf).fit(*two_features), clf)


def test_warm_start_of_an_unfitted_estimator_is_a_plain_fit(two_features, tiny, same_weights):
    assert same_weights(tiny(warm_start=True).fit(*two_features), tiny().fit(*two_features))


def test_warm_start_keeps_the_standardisation(two_features, tiny):
    X, y = two_features
    clf = tiny(warm_start=True, max_steps=1).fit(X, y)
    signal = clf.signal_
    assert clf.fit(X + 100, y).signal_ == signal


def test_warm_start_takes_the_same_images_in_another_range(draw_images, tiny, same_weights):
    X, y = draw_images()
    of_bytes, of_floats = (tiny(warm_start=True, max_steps=2).fit(X, y) for _ in range(2))
    of_bytes.fit(X, y)
    of_floats.fit(X / 255, y)
    assert same_weights(of_bytes, of_floats)
    assert of_floats.input_range_ == (0, 1)
    assert np.array_equal(of_floats.predict_proba(X / 255), of_bytes.predict_proba(X))


def test_warm_start_on_images_of_another_shape_is_an_error(draw_images, tiny):
    clf = tiny(warm_start=True, max_steps=1).fit(*draw_images(shape=(16, 8)))
    with pytest.raises(ValueError, match=r"fit of images of shape \(16, 8, 1\) .* came images of shape \(8, 16, 1\)"):
        clf.fit(*draw_images(shape=(8, 16)))


@pytest.mark.parametrize("change", [lambda X, y: (X, y + 1), lambda X, y: (X[:, :1], y)], ids=["classes", "features"])
def test_warm_start_on_other_data_is_an_error(change, two_features, tiny):
    clf = tiny(warm_start=True, max_steps=1).fit(*two_features)
    with pytest.raises(ValueError, match=r"warm_start=True goes on from a fit of 2 features .*or warm_start=False"):
        clf.fit(*change(*two_features))


@pytest.mark.parametrize("changes", [{"n_flows": 5}, {"hidden_channels": 9}, {"head": "gmm"}], ids=str)
def test_warm_start_with_another_architecture_is_an_error(changes, two_features, tiny):
    clf = tiny(warm_start=True, max_steps=1).fit(*two_features)
    expected = r"goes on from a fitted flow of another architecture\. Set n_flows, .* or warm_start=False"
    with pytest.raises(ValueError, match=expected):
        clf.set_params(**changes).fit(*two_features)


def test_another_fit_may_have_other_classes_and_shapes(two_features, colour_images, tiny):
    clf = tiny(max_steps=1).fit(*two_features)
    clf.fit(*colour_images)
    assert clf.classes_.tolist() == ["anger", "fear", "joy"]
    assert clf.predict(colour_images[0]).shape == (24,)


class InterruptAt:
    """An augmentation that is interrupted by Ctrl-C at its n-th call; the first is ActNorm's batch."""

    def __init__(self, n_th):
        self.n_th = n_th
        self.n_calls = 0

    def __call__(self, images, generator):
        self.n_calls += 1
        if self.n_calls == self.n_th:
            raise KeyboardInterrupt
        return images


@pytest.mark.parametrize("n_th", [1, 2, 5, 6])
def test_ctrl_c_is_raised_again_and_leaves_a_fitted_estimator(n_th, colour_images, tiny):
    X, y = colour_images
    clf = tiny(augment=InterruptAt(n_th), max_epochs=9, validation_fraction=0.3, calibrate="temperature")
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y, groups=np.arange(24) // 3)
    assert clf.n_steps_ == max(0, n_th - 2)
    assert np.isfinite(clf.predict_proba(X)).all()
    assert not clf.module_.training
    assert clf.morph(X[:2], "joy").shape == (2, 16, 16, 3)


def test_weights_after_ctrl_c_are_those_of_the_steps_before(colour_images, tiny, same_weights):
    X, y = colour_images
    interrupted = tiny(augment=InterruptAt(5))
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, y)
    assert same_weights(interrupted, tiny(augment=InterruptAt(None), max_steps=3).fit(X, y))


def test_error_in_augment_leaves_an_unfitted_estimator(colour_images, tiny):
    clf = tiny(augment=lambda images, generator: images[:, 1:])
    with pytest.raises(ValueError, match="augment was expected to return images of shape"):
        clf.fit(*colour_images)
    with pytest.raises(ValueError, match="not fitted yet"):
        clf.predict(colour_images[0])


@pytest.mark.parametrize(
    "changes", [{"augment": True, "mirror_average": True}, {"head": "gmm", "precision": "mixed"}], ids=str
)
def test_same_random_state_gives_the_same_bits(changes, colour_images, tiny, same_weights, without_seconds):
    X, y = colour_images
    torch.manual_seed(1)
    first = tiny(**changes).fit(X, y)
    torch.manual_seed(2)
    torch.randn(1000)
    np.random.seed(7)  # noqa: NPY002 (what others may have done)
    second = tiny(**changes).fit(X, y)
    assert same_weights(first, second)
    assert np.array_equal(first.predict_proba(X), second.predict_proba(X))
    assert without_seconds(first.history_) == without_seconds(second.history_)
    assert np.array_equal(first.sample(3)[0], second.sample(3)[0])


def test_another_random_state_gives_other_bits(two_features, tiny, same_weights):
    assert not same_weights(tiny(random_state=0).fit(*two_features), tiny(random_state=1).fit(*two_features))


def test_global_generators_are_left_alone(colour_images, tiny):
    X, y = colour_images
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    settings = {"augment": True, "validation_fraction": 0.3, "calibrate": "temperature"}
    clf = tiny(**settings).fit(X, y, groups=np.arange(24) // 3)
    clf.sample(3)
    clf.predict(X)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


def test_resolved_settings_are_recorded(fitted_images):
    assert fitted_images.precision_ == "float32"
    assert fitted_images.memory_ == "store"
    assert fitted_images.n_threads_ == torch.get_num_threads()
    assert fitted_images.device_ in ("cpu", "cuda")


@pytest.mark.parametrize(("n_batches", "epochs"), [(100, 30), (24, 30), (10, 70), (9, 78), (1, 90)])
def test_few_images_are_seen_more_often(n_batches, epochs):
    assert resolve_max_epochs("auto", n_batches, is_image=True) == epochs
    assert resolve_max_epochs("auto", n_batches, is_image=False) == 30
    assert resolve_max_epochs(7, n_batches, is_image=True) == 7


@pytest.mark.parametrize("kind", [FlowExpressionClassifier, CNNExpressionClassifier])
def test_flow_and_cnn_train_small_sets_alike(kind, draw_images, trainers):
    X, y = draw_images(12)
    kind(max_steps=1, random_state=0).fit(X, y)
    assert trainers[0].plan.max_epochs == 90


def test_reversible_memory_trains_the_same_model(colour_images, tiny):
    X, y = colour_images
    stored, reversible = (tiny(memory=m, precision="float64").fit(X, y) for m in ("store", "reversible"))
    assert reversible.memory_ == "reversible"
    np.testing.assert_allclose(reversible.predict_proba(X), stored.predict_proba(X), atol=1e-6)


def test_precision_is_that_of_the_weights(colour_images, tiny):
    kinds = {p: tiny(precision=p, max_steps=1).fit(*colour_images).module_ for p in ("float32", "float64", "mixed")}
    found = {name: {p.dtype for p in module.parameters()} for name, module in kinds.items()}
    assert found == {"float32": {torch.float32}, "float64": {torch.float64}, "mixed": {torch.float32}}


@pytest.mark.parametrize(
    ("labels", "unlabeled"),
    [
        (np.array([0, 1, 2]), -1),
        (np.array(["a", "b", "c"]), "?"),
        (np.array(["a", "b", "c"], dtype=object), ""),
        (np.array([1.0, 2.0, 3.0]), -1),
        (np.array([-1, 0, 1]), 7),
    ],
    ids=str,
)
def test_unlabelled_rows_are_no_class(labels, unlabeled, two_features, tiny):
    X, y = two_features
    known = labels[y]
    partly = np.where(np.arange(60) < 30, known, np.array(unlabeled, dtype=known.dtype))
    clf = tiny(unlabeled=unlabeled, max_steps=3).fit(X, partly)
    assert clf.classes_.tolist() == labels.tolist()
    assert set(clf.predict(X)) <= set(labels.tolist())
    assert np.isfinite(clf.history_[-1]["bits_per_dim"])


def test_minus_one_is_a_class_unless_said_otherwise(two_features, tiny):
    X, y = two_features
    assert tiny(max_steps=1).fit(X, y - 1).classes_.tolist() == [-1, 0, 1]


def test_unlabelled_rows_are_learned_from(two_features, tiny, same_weights):
    X, y = two_features
    partly = np.where(np.arange(60) < 30, y, -1)
    with_them = tiny(unlabeled=-1, max_steps=4).fit(X, partly)
    moved = X.copy()
    moved[30:] += 1.0
    moved_too = tiny(unlabeled=-1, max_steps=4).fit(moved, partly)
    assert not same_weights(with_them, moved_too)


def paper_model(n_classes):
    """Return the paper's model for 64 x 64 x 3, untrained: 300 MB of numbers."""
    clf = FlowExpressionClassifier(**PAPER, device="cpu")
    clf.image_shape_, clf.n_features_in_, clf.classes_ = (64, 64, 3), 64 * 64 * 3, np.arange(n_classes)
    flowexpr.fitting._set_signal(clf, np.zeros((n_classes, 64 * 64 * 3), np.uint8))
    clf.architecture_ = flowexpr.fitting.architecture_of(clf)
    clf.precision_, clf.memory_, clf.device_ = "float32", "store", "cpu"
    return flowexpr.fitting.build_module(clf, torch.Generator().manual_seed(0))


def test_the_papers_settings_build_the_papers_model():
    model = paper_model(6)
    assert len(model.backbone.splits) + 1 == 4
    assert model.backbone.z1_shape == (96, 4, 4)
    assert sum(p.numel() for p in model.backbone.parameters()) == pytest.approx(74.5e6, rel=0.005)


def test_twelve_classes_cost_the_papers_model_at_most_a_tenth_more_than_two():
    def operations(n_classes):
        model = paper_model(n_classes).eval()
        with torch.utils.flop_counter.FlopCounterMode(display=False) as counter, torch.no_grad():
            assert model(torch.zeros(1, 3, 64, 64)).by_class.shape == (1, n_classes)
        return counter.get_total_flops()

    of_two = operations(2)
    assert of_two > 33e9
    assert operations(12) < 1.1 * of_two


def test_the_papers_settings_turn_every_addition_off():
    off = {
        "augment": False,
        "mirror_average": False,
        "label_smoothing": 0.0,
        "weight_averaging": 0.0,
        "weight_decay": 0.0,
        "calibrate": None,
        "schedule": "constant",
        "class_loss_weight": 0.3,
        "batch_size": 32,
        "learning_rate": 1e-4,
        "max_epochs": 1200,
    }
    assert {name: PAPER[name] for name in off} == off


def test_the_papers_settings_train(draw_images):
    X, y = draw_images(n=6, n_classes=2, shape=(16, 16, 3))
    small = {"n_flows": 1, "hidden_channels": 8, "head_hidden_channels": 8, "max_steps": 1}
    clf = FlowExpressionClassifier(**{**PAPER, **small}).fit(X, y)
    assert len(clf.encode(X)) == 4 + 2  # z1 ... z4, z1_prime, y
    assert clf.n_parameters_ == sum(p.numel() for p in clf.module_.parameters())


@pytest.mark.slow
def test_the_papers_model_takes_a_step():
    X = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    clf = FlowExpressionClassifier(**PAPER, random_state=0).set_params(max_steps=1, memory="reversible")
    clf.fit(X, [0, 1, 2])
    assert clf.history_[0]["skipped_steps"] == 0
    assert np.isfinite(clf.predict_proba(X[:1])).all()


def test_a_checkpoint_of_other_columns_is_another_one(two_features, tiny, tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = two_features
    first, other = (pandas.DataFrame(X, columns=columns) for columns in (["a", "b"], ["a", "c"]))
    settings = {"max_steps": 2, "checkpoint_dir": tmp_path}
    tiny(**settings).fit(first, y)
    assert tiny(**settings).fit(other, y).feature_names_in_.tolist() == ["a", "c"]
    assert not hasattr(tiny(**settings).fit(X, y), "feature_names_in_")


def test_the_temperature_knows_the_prior_once(two_features, tiny, trainers):
    X, y = two_features
    kept = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y != 0)[:12]])
    X, y = X[kept], y[kept]
    clf = tiny(calibrate="temperature", validation_fraction=0.3, max_epochs=2).fit(X, y, groups=np.arange(len(y)))
    held_out = trainers[0].validation.indices
    by_hand = fit_temperature(clf.class_log_likelihood(X[held_out]), clf.log_prior_, y[held_out])
    assert np.ptp(clf.log_prior_) > 0.5
    assert clf.temperature_ == pytest.approx(by_hand, rel=1e-3)


def test_what_is_typical_is_told_by_people(two_features, tiny):
    X, y = two_features
    groups = np.arange(60) // 6
    clf = tiny(max_epochs=2).fit(X, y, groups=groups)
    views = predictor_of(clf).views(X)
    np.testing.assert_allclose(clf.typicality_reference_.scores, TypicalityReference.of(views, groups).scores)
    assert not np.allclose(clf.typicality_reference_.scores, TypicalityReference.of(views, None).scores)
