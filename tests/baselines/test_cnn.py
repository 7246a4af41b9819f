"""The paper's CNN: the flow's conventions, its training machinery, and deep features."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

import flowexpr
from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.baselines import cnn as cnn_module
from flowexpr.baselines.residual_network import ResidualNetwork
from flowexpr.calibration import fit_temperature
from flowexpr.exceptions import TrainingDivergedError
from flowexpr.training.loop import Trainer

TINY = {"hidden_channels": 4, "n_features": 6, "max_epochs": 2, "batch_size": 8, "random_state": 0}


@pytest.fixture(scope="module")
def bright_or_dark():
    """Return 48 grey images of 16 x 16 of four subjects, bright above or bright below, with noise."""
    random = np.random.default_rng(0)
    y = np.arange(48) % 2
    X = random.integers(0, 120, (48, 16, 16))
    X[y == 0, :8] += 120
    X[y == 1, 8:] += 120
    return X.astype(np.uint8), np.array(["above", "below"])[y], np.arange(48) % 8 // 2


@pytest.fixture(scope="module")
def fitted(bright_or_dark):
    X, y, _ = bright_or_dark
    return CNNExpressionClassifier(**TINY).fit(X, y)


def test_network_is_four_stacks_of_pairs_and_two_dense_layers():
    network = ResidualNetwork(3, 6)
    kinds = [type(module).__name__ for module in network.modules()]
    assert kinds.count("ResidualBlock") == 4
    assert kinds.count("Linear") == 2
    assert [network.stacks[i].second.out_channels for i in range(4)] == [32, 64, 128, 256]
    assert network(torch.zeros(2, 3, 64, 48)).shape == (2, 6)


def test_what_can_be_told_apart_is_learned(bright_or_dark):
    X, y, subject = bright_or_dark
    cnn = CNNExpressionClassifier(**TINY | {"max_epochs": 20})
    assert cross_val_score(cnn, X, y, groups=subject, cv=GroupKFold(2)).min() > 0.9


def test_probabilities_sum_to_one_in_the_order_of_classes(fitted, bright_or_dark):
    X, _, _ = bright_or_dark
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1)
    assert np.array_equal(fitted.classes_[proba.argmax(1)], fitted.predict(X))


def test_deep_features_go_on_in_a_pipeline(bright_or_dark):
    X, y, _ = bright_or_dark
    model = make_pipeline(CNNExpressionClassifier(**TINY), RandomForestClassifier(random_state=0))
    assert model.fit(X, y).score(X, y) > 0.9
    assert model[0].transform(X).shape == (48, 6)
    assert model[0].transform(X).dtype == np.float32
    assert len(model[0].get_feature_names_out()) == 6


def test_flattened_rows_are_the_images(fitted, bright_or_dark):
    X, y, _ = bright_or_dark
    assert np.array_equal(fitted.predict_proba(X.reshape(48, -1)), fitted.predict_proba(X))
    flat = CNNExpressionClassifier(**TINY, image_shape=(16, 16)).fit(X.reshape(48, -1), y)
    assert np.array_equal(flat.predict_proba(X), fitted.predict_proba(X))


def test_same_seed_same_bits_whatever_the_global_generator_did(fitted, bright_or_dark):
    X, y, _ = bright_or_dark
    torch.manual_seed(123)
    again = clone(fitted).fit(X, y)
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_fit_leaves_torchs_generator_alone(bright_or_dark):
    X, y, _ = bright_or_dark
    before = torch.get_rng_state()
    CNNExpressionClassifier(**TINY).fit(X, y)
    assert torch.equal(torch.get_rng_state(), before)


def test_mirror_images_are_decided_alike(fitted, bright_or_dark):
    X, _, _ = bright_or_dark
    np.testing.assert_allclose(fitted.predict_proba(X[:, :, ::-1]), fitted.predict_proba(X), rtol=1e-5)


def test_history_and_calibration_use_held_out_subjects(bright_or_dark):
    X, y, subject = bright_or_dark
    cnn = CNNExpressionClassifier(**TINY, validation_fraction=0.25, patience=2, calibrate="temperature")
    cnn.fit(X, y, groups=subject)
    assert cnn.validation_ == "by group"
    assert {"class_loss", "accuracy", "val_class_loss", "val_accuracy"} <= set(cnn.history_[0])
    assert "bits_per_dim" not in cnn.history_[0]
    assert cnn.temperature_ != 1


def test_averaged_weights_have_the_running_means_of_batch_normalisation(bright_or_dark):
    X, y, _ = bright_or_dark
    plain = CNNExpressionClassifier(**TINY, weight_averaging=0.0).fit(X, y)
    averaged = CNNExpressionClassifier(**TINY).fit(X, y)
    name = "stacks.0.first_norm.running_mean"
    assert torch.equal(plain.module_.state_dict()[name], averaged.module_.state_dict()[name])
    assert not torch.equal(plain.module_.logits.weight, averaged.module_.logits.weight)


def test_vectors_are_an_error():
    with pytest.raises(ValueError, match=r"images were expected, but X has shape \(4, 3\)\. Pass X of shape"):
        CNNExpressionClassifier().fit(np.zeros((4, 3)), [0, 1, 0, 1])


def test_wrong_parameters_and_images_are_errors(fitted):
    X, y = np.zeros((4, 16, 16), np.uint8), [0, 1, 0, 1]
    with pytest.raises(ValueError, match="n_features=0 is not allowed"):
        CNNExpressionClassifier(n_features=0).fit(X, y)
    with pytest.raises(ValueError, match=r"label_smoothing=2 is not allowed"):
        CNNExpressionClassifier(label_smoothing=2).fit(X, y)
    with pytest.raises(ValueError, match="patience=2 needs a validation set"):
        CNNExpressionClassifier(patience=2).fit(X, y)
    with pytest.raises(ValueError, match=r"fitted on images of shape \(16, 16, 1\)"):
        fitted.predict(np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(NotFittedError):
        CNNExpressionClassifier().predict(X)


def test_a_refused_fit_leaves_an_earlier_one(bright_or_dark):
    X, y, _ = bright_or_dark
    cnn = CNNExpressionClassifier(**TINY).fit(X, y)
    with pytest.raises(ValueError, match="hidden_channels=0"):
        cnn.set_params(hidden_channels=0).fit(X, y)
    cnn.predict(X[:1])


def test_batches_of_one_image_are_refused(bright_or_dark):
    X, y, _ = bright_or_dark
    with pytest.raises(ValueError, match="batch_size=2 leaves batches of one image of 3"):
        CNNExpressionClassifier(**TINY | {"batch_size": 2}).fit(X[:3], y[:3])


def test_names_of_features_are_those_of_the_fitted_network(bright_or_dark):
    X, y, _ = bright_or_dark
    with pytest.raises(NotFittedError):
        CNNExpressionClassifier().get_feature_names_out()
    cnn = CNNExpressionClassifier(**TINY).fit(X, y).set_params(n_features=99)
    assert len(cnn.get_feature_names_out()) == cnn.transform(X[:1]).shape[1] == 6


def test_missing_labels_are_told_without_a_parameter_that_is_not_there(bright_or_dark):
    X, y, _ = bright_or_dark
    with pytest.raises(ValueError, match="Where a label is missing, leave the row out"):
        CNNExpressionClassifier(**TINY).fit(X, np.where(np.arange(len(y)) % 2, y, None))


@pytest.mark.parametrize("is_fitted", [False, True])
def test_failed_fit_leaves_it_unfitted(is_fitted, bright_or_dark, monkeypatch):
    X, y, _ = bright_or_dark
    cnn = CNNExpressionClassifier(**TINY)
    if is_fitted:
        cnn.fit(X, y)

    def diverge(self, *args):
        raise TrainingDivergedError("not finite")

    monkeypatch.setattr(Trainer, "_train_step", diverge)
    with pytest.raises(TrainingDivergedError):
        cnn.fit(X, y)
    with pytest.raises(NotFittedError):
        cnn.predict(X)


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_a_skipped_step_leaves_weights_and_running_statistics_alone(averaging, bright_or_dark):
    X, y, _ = bright_or_dark

    def trained(n_steps, bad_call):
        calls = 0

        def augment(images, generator):
            nonlocal calls
            calls += 1
            return images * np.nan if calls == bad_call else images

        settings = {"augment": augment, "max_steps": n_steps, "weight_averaging": averaging}
        cnn = CNNExpressionClassifier(**TINY | settings).fit(X, y)
        return cnn.history_[-1]["skipped_steps"], cnn.module_.state_dict()

    n_skipped, skipping = trained(2, 3)  # the first call is before any step
    assert n_skipped == 1
    plain = trained(1, None)[1]
    counted = "num_batches_tracked"
    assert all(torch.equal(value, plain[name]) for name, value in skipping.items() if not name.endswith(counted))


def test_a_calibrated_network_is_the_other_one_with_a_temperature(bright_or_dark):
    X, y, _ = bright_or_dark
    cnn = CNNExpressionClassifier(**TINY, calibrate="temperature").fit(X, y, groups=np.arange(len(X)) // 3)
    plain = CNNExpressionClassifier(**TINY).fit(X, y)
    assert cnn.temperature_ != 1
    assert (cnn.validation_, plain.validation_) == ("by group", "none")
    tempered = np.log(plain.predict_proba(X)) / cnn.temperature_
    np.testing.assert_allclose(cnn.predict_log_proba(X), log_softmax(tempered, axis=1), atol=1e-4)


def test_calibration_without_groups_is_warned_of(bright_or_dark):
    X, y, _ = bright_or_dark
    kinds = (CNNExpressionClassifier(**TINY | {"max_epochs": 1}), FlowExpressionClassifier(max_steps=1))
    for estimator in kinds:
        with pytest.warns(UserWarning, match="calibrate='temperature' came without groups") as caught:
            estimator.set_params(calibrate="temperature").fit(X, y)
        assert [one.filename for one in caught] == [__file__]


def test_ctrl_c_leaves_it_fitted(bright_or_dark, monkeypatch):
    X, y, _ = bright_or_dark
    step = Trainer._train_step

    def interrupted(self, *args):
        step(self, *args)
        if self.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_train_step", interrupted)
    cnn = CNNExpressionClassifier(**TINY)
    with pytest.raises(KeyboardInterrupt):
        cnn.fit(X, y)
    assert cnn.n_steps_ == 3
    assert np.isfinite(cnn.predict_proba(X)).all()


class OwnCNN(CNNExpressionClassifier):
    """A user's own class."""


@pytest.mark.parametrize("kind", [CNNExpressionClassifier, OwnCNN])
def test_loaded_network_predicts_as_the_saved_one(kind, bright_or_dark, tmp_path):
    X, y, subject = bright_or_dark
    cnn = kind(**TINY, calibrate="temperature", class_weight={"above": 2.0, "below": 1.0})
    cnn.fit(X, y, groups=subject).save(tmp_path / "cnn.safetensors")
    loaded = flowexpr.load(tmp_path / "cnn.safetensors")
    assert type(loaded) is CNNExpressionClassifier
    assert loaded.get_params() == cnn.get_params()
    assert loaded.temperature_ == cnn.temperature_ != 1
    assert loaded.history_ == cnn.history_
    assert np.array_equal(loaded.predict_proba(X), cnn.predict_proba(X))
    assert np.array_equal(loaded.transform(X), cnn.transform(X))


def test_loading_leaves_the_global_random_state_alone(fitted, tmp_path):
    fitted.save(tmp_path / "cnn.safetensors")
    before = torch.get_rng_state()
    flowexpr.load(tmp_path / "cnn.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unfitted_network_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        CNNExpressionClassifier().save(tmp_path / "cnn.safetensors")
    assert not list(tmp_path.iterdir())


def test_classes_have_their_weight(bright_or_dark, trainers):
    X, y, _ = bright_or_dark
    CNNExpressionClassifier(**TINY | {"max_epochs": 1}, class_weight={"above": 5.0, "below": 1.0}).fit(X, y)
    assert trainers[0].objective.class_weight.tolist() == [5, 1]


def test_the_temperature_is_that_of_the_people_held_out(bright_or_dark, trainers, monkeypatch):
    X, y, _ = bright_or_dark
    people, given = np.arange(len(X)) // 3, []

    def recorded(logits, log_prior, indices, groups):
        given.append(groups)
        return fit_temperature(logits, log_prior, indices, groups)

    monkeypatch.setattr(cnn_module, "fit_temperature", recorded)
    CNNExpressionClassifier(**TINY | {"max_epochs": 1}, calibrate="temperature").fit(X, y, groups=people)
    (of_held_out,) = given
    assert of_held_out.tolist() == people[trainers[0].validation.indices].tolist()


def test_a_network_moves_outside_inference_mode(fitted, bright_or_dark, monkeypatch):
    """Moved inside, as after unpickling for a GPU, its parameters would have no gradients ever after."""
    seen = []
    move = torch.nn.Module.to

    def moved(self, *arguments, **keywords):
        seen.append(torch.is_inference_mode_enabled())
        return move(self, *arguments, **keywords)

    monkeypatch.setattr(torch.nn.Module, "to", moved)
    with torch.inference_mode():
        fitted.predict(bright_or_dark[0])
        fitted.transform(bright_or_dark[0])
    assert seen
    assert not any(seen)
