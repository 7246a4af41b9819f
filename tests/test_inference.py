"""Decisions and likelihoods, recomputed by hand: views, temperature, prior, densities that integrate to one."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax

from flowexpr import FlowExpressionClassifier, inference
from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.explain import encode_reference
from flowexpr.fitted import predictor_of


@pytest.fixture(scope="module")
def deciding(colour_images, tiny):
    """Return a classifier with all that enters a decision: mirror, temperature, weighted prior."""
    return tiny(
        mirror_average=True,
        calibrate="temperature",
        validation_fraction=0.3,
        class_prior=[0.2, 0.3, 0.5],
        class_weight={"anger": 1.0, "fear": 2.0, "joy": 1.0},
    ).fit(*colour_images, groups=np.arange(24) // 3)


def logits_by_hand(clf, X):
    views = [clf.class_log_likelihood(X), clf.class_log_likelihood(np.ascontiguousarray(X[:, :, ::-1]))]
    prior = np.array([0.2, 0.6, 0.5])
    return np.mean(views, 0) / clf.temperature_ + np.log(prior / prior.sum())


def test_probabilities_are_the_softmax_of_the_mean_over_views(deciding, colour_images):
    X, _ = colour_images
    assert deciding.temperature_ != 1
    np.testing.assert_allclose(deciding.predict_proba(X), softmax(logits_by_hand(deciding, X), 1), atol=1e-4)
    np.testing.assert_allclose(deciding.predict_log_proba(X), log_softmax(logits_by_hand(deciding, X), 1), atol=1e-3)


def test_prediction_is_the_class_with_the_largest_probability(deciding, colour_images):
    X, _ = colour_images
    assert np.array_equal(deciding.predict(X), deciding.classes_[deciding.predict_proba(X).argmax(1)])


def test_mirror_images_get_the_same_probabilities(deciding, colour_images):
    X, _ = colour_images
    np.testing.assert_allclose(deciding.predict_proba(X[:, :, ::-1]), deciding.predict_proba(X), atol=1e-5)


def test_mirror_enters_no_likelihood(deciding, colour_images):
    X, _ = colour_images
    without = copy.deepcopy(deciding).set_params(mirror_average=False)
    assert np.array_equal(without.class_log_likelihood(X), deciding.class_log_likelihood(X))
    assert not np.array_equal(without.predict_proba(X), deciding.predict_proba(X))
    assert np.array_equal(without.encode(X).z1, deciding.encode(X).z1)


def test_score_samples_sums_over_the_classes_with_the_prior(deciding, colour_images):
    X, _ = colour_images
    by_hand = logsumexp(deciding.class_log_likelihood(X) + np.log([0.2 / 1.3, 0.6 / 1.3, 0.5 / 1.3]), axis=1)
    np.testing.assert_allclose(deciding.score_samples(X), by_hand, rtol=1e-12)


def test_bits_per_dim_is_the_likelihood_in_other_units(deciding, colour_images):
    X, _ = colour_images
    np.testing.assert_allclose(deciding.bits_per_dim(X), -deciding.score_samples(X) / (768 * np.log(2)))


def test_class_log_likelihood_is_equation_2_of_the_module(fitted_images, colour_images):
    X, _ = colour_images
    x = torch.from_numpy(((X >> 3).transpose(0, 3, 1, 2) + 0.5) / 32 - 0.5).float()
    with torch.inference_mode():
        latents = fitted_images.module_.backbone(x)
        columns = []
        for label in range(3):
            z_prime, log_det = fitted_images.module_.head(latents.z[0], torch.full((24,), label))
            log_normal = -0.5 * (z_prime.square() + math.log(2 * math.pi)).flatten(1).sum(1)
            columns.append(latents.log_prob + log_normal + log_det)
    by_hand = torch.stack(columns, 1).numpy() - 768 * 5 * math.log(2)
    np.testing.assert_allclose(fitted_images.class_log_likelihood(X), by_hand, rtol=1e-5)


def test_new_image_model_says_n_bits_per_dim_or_fewer(fitted_images, colour_images):
    """A uniform guess costs n_bits; trained a little, the model needs no more than about that."""
    assert 2 < fitted_images.bits_per_dim(colour_images[0]).mean() < 6


@pytest.mark.parametrize("head", ["conditional", "gmm"])
def test_density_of_two_features_integrates_to_one(head, two_features, tiny):
    X, y = two_features
    clf = tiny(n_flows=2, max_epochs=10, head=head).fit(X, y)
    drawn = clf.sample(2000, random_state=0)[0]
    low, high = drawn.min(0) - 2 * drawn.std(0), drawn.max(0) + 2 * drawn.std(0)
    axes = [np.linspace(low[i], high[i], 400) for i in range(2)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert np.exp(clf.score_samples(grid)).sum() * cell == pytest.approx(1, abs=0.01)
    for integral in np.exp(clf.class_log_likelihood(grid)).sum(0) * cell:
        assert integral == pytest.approx(1, abs=0.01)


def test_density_is_in_original_units(two_features, tiny):
    X, y = two_features
    one, stretched = tiny().fit(X, y), tiny().fit(X * [1000.0, 1.0], y)
    difference = one.score_samples(X) - stretched.score_samples(X * [1000.0, 1.0])
    np.testing.assert_allclose(difference, np.log(1000), atol=1e-6)


def test_prior_enters_decisions(fitted_vectors, two_features):
    X, _ = two_features
    changed = copy.deepcopy(fitted_vectors)
    changed.log_prior_ = np.log([1e-200, 1 - 2e-200, 1e-200])
    assert (changed.predict(X) == 1).all()


@pytest.fixture
def torn(fitted_images, colour_images):
    """Return a classifier in mixed precision, and images for it."""
    clf = copy.deepcopy(fitted_images)
    clf.module_.set_mixed_precision(True)
    return clf, np.concatenate([colour_images[0]] * 3)


@pytest.mark.parametrize("method", ["predict_log_proba", "transform"])
def test_closest_calls_in_mixed_precision_are_made_in_float32(method, torn, fitted_images, monkeypatch):
    clf, X = torn
    monkeypatch.setattr(inference, "CLOSE_CALL", np.inf)
    monkeypatch.setattr(inference, "MOST_CLOSE_CALLS", 1.0)
    expected = fitted_images.predict(X)
    made_again = []
    again = inference.Predictor._logits_in_float32

    def recording(self, x):
        made_again.append(len(x))
        return again(self, x)

    monkeypatch.setattr(inference.Predictor, "_logits_in_float32", recording)
    getattr(clf, method)(X)
    assert made_again == [len(X)]
    assert np.array_equal(clf.predict(X), expected)
    np.testing.assert_allclose(clf.predict_proba(X), fitted_images.predict_proba(X), atol=1e-6)
    assert clf.module_.mixed_precision  # the model itself stays as it was


def test_clear_calls_in_mixed_precision_are_not_made_again(torn, monkeypatch):
    clf, X = torn
    monkeypatch.setattr(inference, "CLOSE_CALL", 0.0)
    monkeypatch.setattr(inference.Predictor, "_logits_in_float32", None)
    clf.predict(X)


def test_few_of_a_batch_are_made_again(torn, monkeypatch):
    clf, X = torn
    monkeypatch.setattr(inference, "CLOSE_CALL", np.inf)
    sizes = []
    again = inference.Predictor._logits_in_float32
    monkeypatch.setattr(
        inference.Predictor, "_logits_in_float32", lambda self, x: sizes.append(len(x)) or again(self, x)
    )
    clf.predict(X)
    assert sizes == [4]  # of 72


def test_autocast_around_a_call_changes_nothing(fitted_images, colour_images):
    images, labels = colour_images
    expected = fitted_images.predict_proba(images)
    fit = FlowExpressionClassifier(n_flows=1, hidden_channels=8, max_steps=2, random_state=0).fit
    apart = fit(images, labels).score_samples(images)
    (why,) = fitted_images.explain(images[:1])
    cnn = CNNExpressionClassifier(hidden_channels=8, max_steps=2, random_state=0).fit(images, labels)
    certain, features = cnn.predict_proba(images), cnn.transform(images)
    near = encode_reference(fitted_images, images, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fitted_images.explain(images[:1])[0].text == why.text
        np.testing.assert_array_equal(fitted_images.predict_proba(images), expected)
        np.testing.assert_array_equal(fit(images, labels).score_samples(images), apart)
        np.testing.assert_array_equal(cnn.predict_proba(images), certain)
        np.testing.assert_array_equal(cnn.transform(images), features)
        same = encode_reference(fitted_images, images, labels)
    near, same = (fitted_images.explain(images[:1], reference=faces)[0].neighbours for faces in (near, same))
    assert all(a.distance == b.distance for label in near for a, b in zip(near[label], same[label], strict=True))


def test_mixed_precision_trains_the_weights_that_it_uses(colour_images):
    images, labels = colour_images
    how = {"n_flows": 2, "hidden_channels": 32, "max_steps": 80, "learning_rate": 3e-3, "augment": False}
    losses = {}
    for precision in ("mixed", "float32"):
        flow = FlowExpressionClassifier(**how, precision=precision, random_state=0).fit(images, labels)
        losses[precision] = flow.history_[-1]["bits_per_dim"]
    assert losses["mixed"] == pytest.approx(losses["float32"], abs=0.05)  # a cache of old weights: far above


def test_training_does_not_depend_on_the_default_type(colour_images):
    images, labels = colour_images
    flow = FlowExpressionClassifier(n_flows=1, hidden_channels=8, max_steps=2, precision="float32", random_state=0)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.isfinite(flow.fit(images, labels).score_samples(images)).all()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in flow.module_.parameters()} == {torch.float32}


def test_memory_counts_the_rows_that_a_batch_can_have(colour_images):
    images, labels = colour_images
    flow = FlowExpressionClassifier(n_flows=1, hidden_channels=8, max_steps=1, batch_size=10**6, random_state=0)
    assert flow.fit(images, labels).memory_ == "store"


def test_a_path_is_no_array(tmp_path):
    with pytest.raises(ValueError, match=r"is the path .*load_faces"):
        FlowExpressionClassifier().fit(tmp_path, ["a", "b"])


def test_wrong_latents_and_strengths_are_told(fitted_vectors, two_features):
    with pytest.raises(
        ValueError, match="latents were expected to be a mapping of their names to arrays, but are ndarray"
    ):
        fitted_vectors.decode(two_features[0])
    with pytest.raises(ValueError, match="strength was expected to be a finite number, but is '1'"):
        fitted_vectors.morph(two_features[0][:1], 0, strength="1")


@pytest.mark.parametrize("written", [lambda X: (X / 255).astype(np.float16), lambda X: np.round(X / 255, 3)])
@pytest.mark.parametrize("n_bits", [5, 8])
def test_coarse_fractions_are_the_levels_that_were_meant(written, n_bits, tiny, draw_images):
    X, y = draw_images()
    clf = tiny(n_bits=n_bits, max_steps=2).fit(written(X), y)
    decoded = clf.decode(clf.encode(written(X)))
    np.testing.assert_array_equal(np.rint(decoded.astype(float) * 255), X // 2 ** (8 - n_bits) * 2 ** (8 - n_bits))
    np.testing.assert_array_equal(clf.decode(clf.encode(decoded)), decoded)


def test_wrong_samples_and_strengths_are_told(fitted_vectors, fitted_images, colour_images):
    for wrong in ({"n_samples": True}, {"temperature": "x"}, {"temperature": None}, {"temperature": True}, {"y": []}):
        with pytest.raises(ValueError, match="an integer n_samples of at least 1 and a temperature of at least 0"):
            fitted_vectors.sample(**wrong)
    X, y = colour_images
    with pytest.raises(ValueError, match=r"strength=1e\+300 leads to latents that cannot be computed with"):
        fitted_images.morph(X[:1], y[1], strength=1e300)


def test_close_calls_are_counted_in_nats_before_the_temperature(fitted_images, monkeypatch):
    clf = copy.deepcopy(fitted_images)
    clf.module_.set_mixed_precision(True)
    clf.temperature_ = 100.0
    monkeypatch.setattr(inference.Predictor, "_logits_in_float32", None)
    logits = np.array([[0.1, 0.0, -9.0]])  # ten nats apart
    assert np.array_equal(predictor_of(clf).settle(torch.zeros(1), logits.copy()), logits)
