"""The whole flow: f once, h once for all classes, gradients in little memory, bfloat16 in the networks of f alone."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch

from flowexpr.flows import AffineCoupling, ConditionalFlow, FlowModel, GaussianMixture, Glow, RealNVP
from flowexpr.flows.networks import Projection
from flowexpr.flows.steps import FlowSteps

N = 5
N_CLASSES = 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_model(kind="image", head="conditional", n_flows=3, perturbed=True):
    """Return a float64 model that is initialised, and not the identity, and a batch for it."""
    shape = (3, 8, 4) if kind == "image" else (4,)
    f = (
        Glow(shape, 2, n_flows, 8, generator=generator())
        if kind == "image"
        else RealNVP(4, n_flows, 8, generator=generator())
    )
    if head == "conditional":
        h = ConditionalFlow(f.z1_shape, N_CLASSES, 2, 8, generator=generator(1))
    else:
        h = GaussianMixture(f.z1_shape, N_CLASSES, generator=generator(1))
    model = FlowModel(f, h).double()
    if perturbed:
        random = generator(2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
    x = torch.randn(N, *shape, generator=generator(3), dtype=torch.float64)
    model.train()
    model(x)
    return model, x


@pytest.fixture
def calls(monkeypatch):
    """Count how often f and h are called, in whatever copy of a model."""
    counted = Counter()

    def count(cls, method, name):
        original = getattr(cls, method)

        def counting(self, *args):
            counted[name] += 1
            return original(self, *args)

        monkeypatch.setattr(cls, method, counting)

    for cls in (Glow, RealNVP):
        count(cls, "forward", "f")
    for cls in (ConditionalFlow, GaussianMixture):
        count(cls, "forward", "h")
        count(cls, "density_terms", "h")  # h as well, value by value
    return counted


@pytest.mark.parametrize("head", ["conditional", "gmm"])
@pytest.mark.parametrize("kind", ["image", "vector"])
def test_one_pass_calls_f_once_and_h_once_for_all_classes(kind, head, calls):
    model, x = make_model(kind, head)
    calls.clear()
    assert model(x).by_class.shape == (N, N_CLASSES)
    assert calls == {"f": 1, "h": 1}


def test_training_calls_f_once_and_h_once_a_step(calls, colour_images, tiny):
    tiny(max_steps=2).fit(*colour_images)
    of_two_steps = Counter(calls)
    calls.clear()
    tiny(max_steps=5).fit(*colour_images)
    calls.subtract(of_two_steps)
    assert calls == {"f": 3, "h": 3}


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "class_log_likelihood", "score_samples"])
def test_prediction_calls_f_once_and_h_once_a_batch(method, mirror, calls, colour_images, fitted_images):
    X, _ = colour_images
    clf = copy.deepcopy(fitted_images).set_params(mirror_average=mirror)
    getattr(clf, method)(X)
    assert calls == {"f": 1, "h": 1}


def test_transform_calls_f_once(calls, colour_images, fitted_images):
    fitted_images.transform(colour_images[0])
    assert calls["f"] == 1


def test_prediction_of_vectors_calls_f_once_and_h_once(calls, two_features, fitted_vectors):
    fitted_vectors.predict_proba(two_features[0])
    assert calls == {"f": 1, "h": 1}


def losses_and_gradients(model, x, *, reversible):
    """Return the loss of a batch, and the gradient of every parameter and of the input."""
    model.set_reversible(reversible)
    model.zero_grad()
    x = x.clone().requires_grad_()
    log_prob = model(x)
    loss = -(log_prob.shared + log_prob.by_class.square().mean(1).sqrt()).sum()
    loss.backward()
    return loss.detach(), [x.grad, *(p.grad for p in model.parameters() if p.requires_grad)]


@pytest.mark.parametrize("kind", ["image", "vector"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_reversible_gradients_are_autograds(kind, dtype, tolerance):
    model, x = make_model(kind)
    model, x = model.to(dtype), x.to(dtype)
    loss, expected = losses_and_gradients(model, x, reversible=False)
    reversible_loss, found = losses_and_gradients(model, x, reversible=True)
    assert reversible_loss == loss
    for a, b in zip(found, expected, strict=True):
        assert b.numel() == 0 or (a - b).norm() <= tolerance * max(b.norm(), 1e-3)
    assert sum(int(g.abs().sum() > 0) for g in expected) > 10


def test_reversible_gradients_of_many_flows_are_autograds_in_float32():
    """Inverted from the last output alone, they would be 1.6e-5 off."""
    model, x = make_model(n_flows=40)
    model, x = model.float(), x.float()
    expected, found = (
        torch.cat([g.flatten() for g in losses_and_gradients(model, x, reversible=reversible)[1]])
        for reversible in (False, True)
    )
    assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_reversible_gradients_in_mixed_precision_are_as_near_to_float64_as_stored_ones():
    exact, x = make_model(n_flows=6)
    _, expected = losses_and_gradients(exact, x, reversible=False)
    mixed = copy.deepcopy(exact).float()
    mixed.set_mixed_precision(True)

    def distance(*, reversible):
        _, found = losses_and_gradients(mixed, x.float(), reversible=reversible)
        return sum((a - b).square().sum() for a, b in zip(found, expected, strict=True)).sqrt().item()

    stored = distance(reversible=False)
    assert stored > 1e-4  # bfloat16 was there
    assert distance(reversible=True) == pytest.approx(stored, rel=0.02)


def stored_bytes(model, x, *, reversible):
    """Return the bytes of distinct tensors that a forward pass keeps for the gradient, without the parameters."""
    model.set_reversible(reversible)
    known = {p.data_ptr() for p in model.parameters()}
    stored = {}

    def pack(tensor):
        if tensor.data_ptr() not in known:
            stored[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        log_prob = model(x)
    assert log_prob.shared.requires_grad
    return sum(tensor.numel() * tensor.element_size() for tensor in stored.values())


def test_reversible_storage_does_not_grow_with_the_number_of_flows():
    few, x = make_model(n_flows=2)
    many, _ = make_model(n_flows=40)
    of_few, of_many = (stored_bytes(model, x, reversible=True) for model in (few, many))
    assert of_many <= 1.1 * of_few
    assert stored_bytes(many, x, reversible=False) > 3 * of_many


def test_reversible_keeps_nothing_without_gradients():
    model, x = make_model()
    model.set_reversible(True)
    with torch.no_grad():
        assert not model(x).shared.requires_grad


def test_actnorm_is_initialised_in_a_reversible_pass_too():
    model, x = make_model(perturbed=False)
    fresh = FlowModel(
        Glow((3, 8, 4), 2, 3, 8, generator=generator()),
        ConditionalFlow(model.backbone.z1_shape, N_CLASSES, 2, 8, generator=generator(1)),
    ).double()
    fresh.set_reversible(True)
    fresh.train()
    fresh(x)
    expected, found = model.state_dict(), fresh.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def output_dtypes(part, model, x):
    """Return the types that the network layers of a part of the model put out, and those of everything else."""
    inside, outside = set(), set()

    def note(module, _, out):
        out = out if isinstance(out, torch.Tensor) else out[0]
        (inside if "network" in names[module] else outside).add(out.dtype)

    names = {module: name for name, module in part.named_modules()}
    hooks = [
        module.register_forward_hook(note)
        for module, name in names.items()
        if isinstance(module, Projection | AffineCoupling | FlowSteps)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return inside, outside


def test_mixed_precision_is_only_in_the_networks_of_f():
    model, x = make_model()
    model, x = model.float(), x.float()
    model.set_mixed_precision(True)
    assert output_dtypes(model.backbone, model, x) == ({torch.bfloat16}, {torch.float32})
    assert output_dtypes(model.head, model, x) == ({torch.float32}, {torch.float32})


def test_mixed_precision_changes_little_and_can_be_turned_off():
    model, x = make_model()
    model, x = model.float(), x.float()
    exact = model(x).shared
    model.set_mixed_precision(True)
    mixed = model(x).shared
    assert not torch.equal(mixed, exact)
    torch.testing.assert_close(mixed, exact, rtol=1e-2, atol=0.1)
    model.set_mixed_precision(False)
    assert torch.equal(model(x).shared, exact)


def test_mixed_precision_inverts_to_a_fraction_of_a_grey_level():
    model, x = make_model()
    model, x = model.float().eval(), x.float().clamp(-0.5, 0.5)
    model.set_mixed_precision(True)
    with torch.no_grad():
        assert (model.decode(model.encode(x)) - x).abs().max() < 1 / 512


def test_decode_undoes_encode():
    model, x = make_model()
    with torch.no_grad():
        torch.testing.assert_close(model.decode(model.encode(x)), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("head", ["conditional", "gmm"])
@pytest.mark.parametrize(("kind", "shape"), [("image", (3, 8, 4)), ("vector", (4,))])
@pytest.mark.parametrize("n", [1, 7])
def test_samples_have_the_shape_of_the_data(kind, shape, head, n):
    model, _ = make_model(kind, head)
    y = torch.arange(n) % N_CLASSES
    with torch.no_grad():
        assert model.eval().sample(y, generator=generator()).shape == (n, *shape)


def test_samples_repeat_with_the_generators_seed():
    model, _ = make_model()
    y = torch.zeros(4, dtype=torch.int64)
    with torch.no_grad():
        first, again, other = (model.eval().sample(y, generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_samples_at_temperature_zero_are_the_same_for_one_class():
    model, _ = make_model()
    with torch.no_grad():
        drawn = model.eval().sample(torch.tensor([0, 0, 1]), 0.0, generator())
    torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=1e-12)
    assert (drawn[0] - drawn[2]).abs().max() > 1e-3


def test_vector_samples_follow_the_density():
    """The mean of exp(log q - log p) over samples of p is the integral of q: 1 where p and q are the same."""
    model, _ = make_model("vector", "conditional")
    model.eval()
    with torch.no_grad():
        drawn = model.sample(torch.zeros(20_000, dtype=torch.int64), generator=generator())
        log_prob = model(drawn)
        log_p = (log_prob.shared + log_prob.by_class[:, 0]).numpy()
    covariance, mean = np.cov(drawn.T.numpy()), drawn.mean(0).numpy()
    centred = drawn.numpy() - mean
    whitened = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    log_q = -0.5 * (whitened + np.linalg.slogdet(covariance)[1] + 4 * np.log(2 * np.pi))
    assert np.exp(log_q - log_p).mean() == pytest.approx(1, abs=0.05)
