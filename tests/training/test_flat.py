"""Parameters as one vector: the same model, the same gradients, and memory of their own again afterwards."""

import copy

import pytest
import torch
from torch import nn

from flowexpr.training.flat import FlatParameters


@pytest.fixture
def models():
    """Return a small network with a frozen parameter, its channels last, and a copy with flat parameters."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).to(memory_format=torch.channels_last)
    model[0].bias.requires_grad_(False)
    flat_model = copy.deepcopy(model)
    return model, flat_model, FlatParameters(flat_model)


def gradients(model, x):
    model(x).square().sum().backward()
    return [parameter.grad for parameter in model.parameters() if parameter.requires_grad]


def test_model_computes_the_same(models):
    model, flat_model, flat = models
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(model(x), flat_model(x))
    assert flat.vector.numel() == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_vector_is_the_parameters(models):
    _, flat_model, flat = models
    with torch.no_grad():
        flat.vector.fill_(0.5)
    assert all(bool((p == 0.5).all()) for p in flat_model.parameters() if p.requires_grad)
    assert bool((flat_model[0].bias != 0.5).all())


def test_memory_format_is_kept(models):
    model, flat_model, _ = models
    strides = [[p.stride() for p in each.parameters()] for each in (model, flat_model)]
    assert strides[0] == strides[1]


def test_gradients_are_the_same_and_start_anew_at_zero(models):
    model, flat_model, flat = models
    x = torch.rand(2, 3, 8, 8)
    expected = gradients(model, x)
    for _ in range(2):
        flat.zero_gradient()
        found = gradients(flat_model, x)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
        assert flat.vector.grad.square().sum().item() == pytest.approx(sum(g.square().sum().item() for g in expected))


def test_gradient_is_scaled_down_to_the_largest_norm_and_never_up(models):
    _, flat_model, flat = models
    flat.zero_gradient()
    gradients(flat_model, torch.rand(2, 3, 8, 8))
    norm = flat.vector.grad.norm().item()
    assert flat.clip_gradient(2 * norm) == pytest.approx(norm)
    assert flat.vector.grad.norm().item() == pytest.approx(norm)
    assert flat.clip_gradient(norm / 2) == pytest.approx(norm)
    assert flat.vector.grad.norm().item() == pytest.approx(norm / 2)


def test_release_gives_parameters_their_own_memory(models):
    model, flat_model, flat = models
    flat.zero_gradient()
    flat.release()
    for parameter, expected in zip(flat_model.parameters(), model.parameters(), strict=True):
        assert torch.equal(parameter, expected)
        assert parameter.untyped_storage().nbytes() == expected.untyped_storage().nbytes()
        assert parameter.grad is None


def test_fitted_weights_have_memory_of_their_own(fitted_images):
    for parameter in fitted_images.module_.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.numel() * parameter.element_size()
