"""captum's attributions beside the flow's own map: of flows and CNNs, and what is told where they cannot be made."""

import sys

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.explain import attribute, attributions
from flowexpr.explain.attributions import ATTRIBUTIONS, EvidenceFunction


@pytest.fixture(scope="module")
def cnn(colour_images):
    settings = {"hidden_channels": 4, "n_features": 8, "max_epochs": 1, "augment": False, "device": "cpu"}
    return CNNExpressionClassifier(**settings, random_state=0).fit(*colour_images)


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_every_method_gives_a_map_of_flow_and_cnn(fitted_images, cnn, colour_images, method):
    pytest.importorskip("captum")
    for model in (fitted_images, cnn):
        maps = attribute(model, colour_images[0][:2], method, against="joy")
        assert maps.shape == (2, 16, 16)
        assert np.isfinite(maps).all()
        assert maps.std() > 0


def test_maps_of_images_that_realnvp_takes_for_vectors_are_maps(colour_images, tiny):
    pytest.importorskip("captum")
    X, y = colour_images
    X = X[:, ::2, ::2]
    model = tiny(backbone="realnvp", max_steps=2).fit(X, y)
    as_rows = model.explain(X[:2], counterfactual=False)
    for method in ATTRIBUTIONS:
        assert attribute(model, X[:2], method).shape == (2, *as_rows[0].pixel_map.shape) == (2, 8, 8)


def test_autocast_around_a_call_changes_no_map(fitted_images, cnn, colour_images):
    pytest.importorskip("captum")
    for model in (fitted_images, cnn):
        maps = attribute(model, colour_images[0][:1], "gradient_x_input")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            np.testing.assert_array_equal(attribute(model, colour_images[0][:1], "gradient_x_input"), maps)


def test_integrated_gradients_sum_to_the_change_from_black(cnn, colour_images):
    pytest.importorskip("captum")
    X = colour_images[0][:2]
    maps = attribute(cnn, X, "integrated_gradients", label="fear", against="joy")
    function = EvidenceFunction(cnn)
    a, b = function.pairs(X, "fear", "joy")
    x = cnn.signal_.to_model(X.reshape(2, -1))
    change = function(x, a, b) - function(x * 0 - 0.5, a, b)
    np.testing.assert_allclose(maps.sum((1, 2)), change.detach().numpy(), rtol=0.1, atol=0.02)


def test_the_predicted_class_against_itself_is_against_the_runner_up(cnn, colour_images):
    pytest.importorskip("captum")
    X = colour_images[0][:2]
    maps = attribute(cnn, X, "gradient_x_input", against=cnn.predict(X))
    np.testing.assert_array_equal(maps, attribute(cnn, X, "gradient_x_input"))
    assert maps.any()


def test_a_class_against_itself_is_refused(cnn, colour_images):
    label = cnn.classes_[0]
    with pytest.raises(ValueError, match="label and against are both"):
        attribute(cnn, colour_images[0][:1], "gradient_x_input", label=label, against=label)


def test_unknown_methods_are_told(cnn, colour_images):
    with pytest.raises(ValueError, match="method='grad' was expected to be one of occlusion"):
        attribute(cnn, colour_images[0][:1], "grad")


def test_what_to_install_is_told(cnn, colour_images, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r"pip install 'flowexpr\[explain\]'"):
        attribute(cnn, colour_images[0][:1], "occlusion")


def test_unknown_labels_are_told(cnn, colour_images):
    pytest.importorskip("captum")
    with pytest.raises(ValueError, match="unknown label 'contempt'"):
        attribute(cnn, colour_images[0][:1], "occlusion", label="contempt")


def test_unfitted_models_are_told(colour_images):
    pytest.importorskip("captum")
    with pytest.raises(NotFittedError):
        attribute(CNNExpressionClassifier(), colour_images[0][:1], "occlusion")


def test_occlusion_of_all_is_what_the_grey_image_lacks(cnn, colour_images, monkeypatch):
    pytest.importorskip("captum")
    monkeypatch.setattr(attributions, "WINDOW", 1.0)
    X = colour_images[0][:1]
    (found,) = attribute(cnn, X, "occlusion", label="fear", against="joy")
    function = EvidenceFunction(cnn)
    a, b = function.pairs(X, "fear", "joy")
    x = cnn.signal_.to_model(X.reshape(1, -1))
    drop = (function(x, a, b) - function(x.mean((2, 3), keepdim=True).expand_as(x), a, b)).detach()
    np.testing.assert_allclose(found, drop.item(), rtol=1e-3, atol=1e-5)
