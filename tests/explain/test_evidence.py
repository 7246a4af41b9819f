"""The evidence of models that train and predict in special ways: reversible, in bfloat16, calibrated."""

import copy

import numpy as np
import pytest
import torch
from scipy.special import softmax

from flowexpr.explain import attribute
from flowexpr.explain.evidence import EvidenceModel, compared_classes
from flowexpr.fitted import predictor_of


@pytest.fixture(scope="module")
def mixed(colour_images, tiny):
    """Return a model that bfloat16 rounds noticeably, and that has close calls."""
    clf = tiny(precision="mixed", mirror_average=True, max_epochs=1).fit(*colour_images)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in clf.module_.parameters():
            weight.add_(0.06 * torch.randn(weight.shape, generator=generator))
    return clf


def test_reversible_models_are_explained_as_others(colour_images, tiny):
    X = colour_images[0]
    clf = tiny(max_epochs=1, mirror_average=True).fit(*colour_images)
    stored = clf.explain(X[:2])
    clf.module_.set_reversible(True)
    for one, other in zip(clf.explain(X[:2]), stored, strict=True):
        np.testing.assert_allclose(one.pixel_map, other.pixel_map, atol=1e-6)
        np.testing.assert_array_equal(one.counterfactual.image, other.counterfactual.image)
    assert clf.explain(X[:1], "joy", label="fear", counterfactual=False)[0].pixel_map.any()


def test_reversible_models_have_attributions(colour_images, tiny):
    pytest.importorskip("captum")
    clf = tiny(max_epochs=1, memory="reversible").fit(*colour_images)
    assert attribute(clf, colour_images[0][:1], "gradient_x_input").any()


def test_bfloat16_is_explained_as_it_decides(mixed, colour_images):
    X = colour_images[0]
    explained = mixed.explain(X, pixel_map=False, counterfactual=False)
    log_proba = mixed.predict_log_proba(X)
    np.testing.assert_array_equal([one.label for one in explained], mixed.predict(X))
    np.testing.assert_allclose([np.log(one.probabilities) for one in explained], log_proba, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        [one.log_likelihoods for one in explained], mixed.class_log_likelihood(X), rtol=0, atol=1e-9
    )
    top = np.sort(log_proba, axis=1)
    np.testing.assert_allclose([one.evidence for one in explained], top[:, -1] - top[:, -2], rtol=0, atol=1e-6)


def test_latents_of_bfloat16_models_are_those_that_decode_to_the_image(mixed, colour_images):
    model = EvidenceModel(predictor_of(mixed))
    decided = model.decide(colour_images[0].reshape(24, -1), None, None)
    with torch.inference_mode():
        decoded = model.model.backbone.inverse_of_normal(decided.z1, decided.normal)
    torch.testing.assert_close(decoded, decided.x, rtol=0, atol=1e-4)


def test_maps_of_bfloat16_models_are_complete(mixed, colour_images):
    for one in mixed.explain(colour_images[0][:2], counterfactual=False):
        change = one.evidence - one.baseline_evidence
        assert one.pixel_map.sum() == pytest.approx(change, rel=1e-6, abs=1e-6)
        assert abs(one.convergence_delta) < 0.02 * np.abs(one.pixel_map).sum()


def test_logits_hold_evidence_and_probabilities_at_any_temperature(fitted_images, colour_images):
    X = colour_images[0][:4]
    before = fitted_images.predict_proba(X)
    for temperature in (1.0, 2.5):
        clf = copy.copy(fitted_images)
        clf.temperature_ = temperature
        for i, one in enumerate(clf.explain(X, pixel_map=False, counterfactual=False)):
            a, b = (list(one.classes).index(label) for label in (one.label, one.against))
            assert one.logits[a] - one.logits[b] == pytest.approx(one.evidence, rel=1e-6)
            np.testing.assert_allclose(softmax(one.logits), clf.predict_proba(X[i : i + 1])[0], rtol=1e-5)
            np.testing.assert_allclose(one.uncalibrated_probabilities, before[i], rtol=1e-5)
            assert one.calibrated == (temperature != 1)
            assert ("not calibrated" in one.text) == (temperature == 1)


def test_the_class_itself_is_compared_with_the_most_probable_other():
    scores = np.array([[0.5, 0.2, 0.3]] * 3)
    label, against = np.array([0, 2, 1]), np.array([0, 1, 1])
    a, b = compared_classes(scores, label, against)
    np.testing.assert_array_equal(a, label)
    np.testing.assert_array_equal(b, [2, 1, 0])


def test_the_evidence_of_a_start_is_of_the_calibrated_model(fitted_images, colour_images):
    X = colour_images[0]
    clf = copy.copy(fitted_images)
    clf.temperature_ = 2.5
    log_proba = clf.predict_log_proba(X[4:6])
    for one, row in zip(clf.explain(X[:2], counterfactual=False, neutral=X[4:6]), log_proba, strict=True):
        a, b = (list(one.classes).index(label) for label in (one.label, one.against))
        assert one.baseline_evidence == pytest.approx(row[a] - row[b], rel=1e-3, abs=1e-4)
