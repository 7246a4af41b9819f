"""One contract for every flow: its inverse, its log-determinant, and a gradient on every parameter."""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from flowexpr.flows import (
    ActNorm,
    AffineCoupling,
    ConditionalFlow,
    FlowStep,
    GaussianMixture,
    Glow,
    InvertibleConv1x1,
    RealNVP,
    Split,
    Squeeze,
)
from flowexpr.flows.linear import invert_maps

N = 4
N_CLASSES = 3
LABELS = torch.tensor([0, 2, 1, 2])


class Case(NamedTuple):
    """A flow, the shape of one sample, and whether the class enters."""

    make: Callable[[torch.Generator], nn.Module]
    shape: tuple[int, ...]
    classes: bool = False


def glow(channels, height, width, n_blocks, n_flows=2):
    shape = (channels, height, width)
    return Case(lambda g: Glow(shape, n_blocks, n_flows, 8, generator=g), shape)


def real_nvp(n_features):
    return Case(lambda g: RealNVP(n_features, 3, 8, generator=g), (n_features,))


def head(shape, **options):
    return Case(lambda g: ConditionalFlow(shape, N_CLASSES, 2, 8, generator=g, **options), shape, True)


def mixture(shape, **options):
    return Case(lambda g: GaussianMixture(shape, N_CLASSES, generator=g, **options), shape, True)


CASES = {
    "actnorm-image": Case(lambda g: ActNorm(6), (6, 4, 2)),
    "actnorm-vector": Case(lambda g: ActNorm(5), (5,)),
    "conv1x1-image": Case(lambda g: InvertibleConv1x1(6, generator=g), (6, 2, 4)),
    "conv1x1-vector": Case(lambda g: InvertibleConv1x1(5, generator=g), (5,)),
    "coupling-image": Case(lambda g: AffineCoupling(6, 8, generator=g), (6, 4, 2)),
    "coupling-vector": Case(lambda g: AffineCoupling(5, 8, 0, generator=g), (5,)),
    "coupling-image-classes": Case(lambda g: AffineCoupling(6, 8, n_classes=3, generator=g), (6, 4, 2), True),
    "coupling-vector-classes": Case(lambda g: AffineCoupling(5, 8, 0, n_classes=3, generator=g), (5,), True),
    "coupling-label-only": Case(
        lambda g: AffineCoupling(6, 8, n_classes=3, label_only=True, generator=g), (6, 4, 2), True
    ),
    "step-image": Case(lambda g: FlowStep(6, 8, generator=g), (6, 4, 2)),
    "step-vector-classes": Case(lambda g: FlowStep(5, 8, 0, n_classes=3, generator=g), (5,), True),
    "squeeze": Case(lambda g: Squeeze(), (3, 4, 6)),
    "split": Case(lambda g: Split(6), (6, 4, 2)),
    "glow-grey": glow(1, 8, 8, 2),
    "glow-colour": glow(3, 8, 8, 2),
    "glow-five-channels": glow(5, 4, 4, 1),
    "glow-wide": glow(1, 4, 12, 2),
    "glow-tall": glow(3, 12, 4, 1),
    "glow-three-blocks": glow(1, 8, 16, 3, n_flows=1),
    "realnvp-1": real_nvp(1),
    "realnvp-2": real_nvp(2),
    "realnvp-5": real_nvp(5),
    "head-image": head((8, 2, 4)),
    "head-vector": head((5,)),
    "head-one-feature": head((1,)),
    "head-image-label-only": head((8, 2, 4), label_only=True),
    "head-vector-label-only": head((5,), label_only=True),
    "mixture-image-random": mixture((8, 2, 4)),
    "mixture-image-learned": mixture((8, 2, 4), learned=True),
    "mixture-vector-random": mixture((5,)),
    "mixture-vector-learned": mixture((5,), learned=True),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def perturb(flow, seed=1, size=0.2):
    """Move every parameter off where it starts, since zero-initialised layers would hide what is behind them.

    Mixing matrices move less: a triangular matrix of large random numbers cannot be inverted to 1e-10.
    """
    random = generator(seed)
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            step = 0.2 * size if name.endswith((".lower", ".upper")) else size
            parameter += step * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
    return flow


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """Return a perturbed float64 flow, a batch for it, and its further arguments."""
    made = CASES[request.param]
    flow = perturb(made.make(generator()).double())
    x = torch.randn(N, *made.shape, generator=generator(2), dtype=torch.float64)
    y = (LABELS,) if made.classes else ()
    flow.train()
    flow(x, *y)  # ActNorm sees its first batch, and is moved away from it again
    return perturb(flow, seed=3).eval(), x, y


def parts(flow, x: Tensor, y: tuple) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the latents of a flow, and its log-determinant alone."""
    if isinstance(flow, Split):
        stay, leave, *_ = flow(x)
        return (stay, leave), x.new_zeros(len(x))  # it moves values about; its prior has tests of its own
    if isinstance(flow, Glow | RealNVP):
        priors = []
        hooks = [m.register_forward_hook(lambda *a: priors.append(a[2][2])) for m in flow.modules() if type(m) is Split]
        latents = flow(x)
        for hook in hooks:
            hook.remove()
        return latents.z, latents.log_prob - sum(priors)
    z, log_det = flow(x, *y)
    return (z,), log_det


def undo(flow, z: tuple[Tensor, ...], y: tuple) -> Tensor:
    if isinstance(flow, Glow | RealNVP):
        return flow.inverse(z)
    return flow.inverse(*z, *y)


@torch.no_grad()
def test_inverse_undoes_forward(case):
    flow, x, y = case
    z, _ = parts(flow, x, y)
    torch.testing.assert_close(undo(flow, z, y), x, rtol=0, atol=1e-10)


def test_log_det_is_that_of_autograds_jacobian(case):
    flow, x, y = case
    _, log_det = parts(flow, x, y)
    assert log_det.shape == (N,)
    for i in range(2):
        label = tuple(labels[i : i + 1] for labels in y)

        def flat(sample, label=label):
            z, _ = parts(flow, sample.view(1, *x.shape[1:]), label)
            return torch.cat([level.flatten() for level in z])

        jacobian = torch.autograd.functional.jacobian(flat, x[i].flatten())
        assert jacobian.shape == (x[i].numel(), x[i].numel())
        assert log_det[i].item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), rel=0, abs=1e-8)


def test_every_parameter_has_a_gradient(case):
    flow, x, y = case
    loss = log_density(flow, x, y).sum()
    if not loss.requires_grad:
        assert not any(p.requires_grad for p in flow.parameters())
        return
    loss.backward()
    for name, parameter in flow.named_parameters():
        if not parameter.requires_grad or not acts(name, parameter):
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def log_density(flow, x, y):
    """Return a number per sample that all of a flow enters: its log-density under standard normal latents."""
    if isinstance(flow, Split):
        return flow(x)[2]
    if isinstance(flow, Glow | RealNVP):
        latents = flow(x)
        return latents.log_prob - 0.5 * latents.z[0].flatten(1).square().sum(1)
    z, log_det = flow(x, *y)
    return log_det - 0.5 * z.flatten(1).square().sum(1)


def acts(name, parameter):
    """Tell whether a parameter can act: a triangle of a 1 x 1 matrix, and weights of no channels, are empty."""
    if name.endswith((".lower", ".upper")):
        return len(parameter) > 1
    return parameter.numel() > 0


def test_every_log_det_is_moved_by_the_input_or_a_parameter(case):
    """Guard of the two tests above: the perturbed flows are not the identity (a squeeze and a split only permute)."""
    flow, x, y = case
    z, log_det = parts(flow, x, y)
    moved = torch.cat([level.flatten(1) for level in z], 1)
    assert not torch.equal(moved, x.flatten(1)) or isinstance(flow, Split)
    if not isinstance(flow, Squeeze | Split | GaussianMixture):
        assert log_det.abs().min() > 1e-6


@pytest.mark.parametrize("name", CASES)
def test_construction_leaves_torchs_generator_alone(name):
    before = torch.get_rng_state()
    CASES[name].make(generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", CASES)
def test_construction_depends_on_its_generator_alone(name):
    torch.manual_seed(1)
    first = CASES[name].make(generator()).state_dict()
    torch.manual_seed(2)
    second = CASES[name].make(generator()).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("shape", [(6, 4, 2), (5,)])
def test_new_coupling_is_the_identity(shape):
    coupling = AffineCoupling(shape[0], 8, 3 if len(shape) == 3 else 0, generator=generator())
    x = torch.randn(N, *shape, generator=generator(2))
    z, log_det = coupling(x)
    assert torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(N))


@pytest.mark.parametrize("shape", [(3, 4, 6), (3,)])
def test_actnorm_gives_the_first_training_batch_zero_mean_and_unit_variance(shape):
    layer = ActNorm(3).double().train()
    first = 5 + 3 * torch.randn(50, *shape, generator=generator(), dtype=torch.float64)
    z, _ = layer(first)
    values = z.transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(1), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(values.var(1, correction=0), torch.ones(3).double(), rtol=0, atol=1e-12)


def test_actnorm_learns_nothing_from_the_second_batch():
    layer = ActNorm(3).train()
    layer(torch.randn(50, 3, generator=generator()))
    before = layer.log_scale.clone()
    layer(9 * torch.randn(50, 3, generator=generator(1)))
    assert torch.equal(layer.log_scale, before)


def test_actnorm_does_not_initialise_in_evaluation_mode():
    layer = ActNorm(3).eval()
    x = 5 + 3 * torch.randn(50, 3, generator=generator())
    assert torch.equal(layer(x)[0], x)
    assert not layer.initialised


def test_actnorm_does_not_scale_up_a_constant_channel_without_bound():
    layer = ActNorm(2).train()
    layer(torch.stack([torch.ones(9), torch.arange(9.0)], 1))
    assert torch.isfinite(layer.log_scale).all()
    assert layer.log_scale.exp().max() <= 100 * (1 + 1e-5)


def test_actnorms_flag_is_saved_and_loaded_with_the_weights():
    trained = ActNorm(3).train()
    trained(5 + torch.randn(50, 3, generator=generator()))
    assert trained.state_dict()["initialised"]
    loaded = ActNorm(3).train()
    loaded.load_state_dict(trained.state_dict())
    loaded(9 * torch.randn(50, 3, generator=generator(1)))
    assert torch.equal(loaded.log_scale, trained.log_scale)


def test_actnorm_copies_are_initialised_where_the_original_is():
    trained = ActNorm(3).train()
    trained(5 + torch.randn(50, 3, generator=generator()))
    copied = copy.deepcopy(trained)
    copied(9 * torch.randn(50, 3, generator=generator(1)))
    assert torch.equal(copied.log_scale, trained.log_scale)


def test_invertible_convolution_starts_as_a_rotation():
    weight = InvertibleConv1x1(6, generator=generator()).weight()
    torch.testing.assert_close(weight @ weight.T, torch.eye(6), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 6), (3,)])
def test_one_hot_planes_equal_a_convolution_of_concatenated_planes(shape):
    kernel_size = 3 if len(shape) == 3 else 0
    coupling = perturb(AffineCoupling(6, 8, kernel_size, n_classes=N_CLASSES, generator=generator()).double()).eval()
    network = coupling.network
    x = torch.randn(N, *shape, generator=generator(2), dtype=torch.float64)
    planes = nn.functional.one_hot(LABELS, N_CLASSES).double().view(N, N_CLASSES, *([1] * (len(shape) - 1)))
    read = x if kernel_size else x.asinh()
    joined = torch.cat([read, planes.expand(N, N_CLASSES, *shape[1:])], 1)
    weight = torch.cat([network.first.weight, network.label.weight], 1)

    def apply(layer_input, weight, bias):
        if kernel_size:
            return nn.functional.conv2d(layer_input, weight, bias, padding="same")
        return nn.functional.linear(layer_input, weight, bias)

    hidden = nn.functional.relu(apply(joined, weight, network.first.bias))
    hidden = nn.functional.relu(apply(hidden, network.second.weight, network.second.bias))
    expected = apply(hidden, network.last.weight, network.last.bias)
    torch.testing.assert_close(network(x, LABELS), expected, rtol=0, atol=1e-12)


def test_the_label_is_not_part_of_what_is_transformed():
    coupling = perturb(AffineCoupling(6, 8, n_classes=N_CLASSES, generator=generator()).double())
    x = torch.randn(N, 6, 4, 2, generator=generator(2), dtype=torch.float64)
    z, _ = coupling(x, LABELS)
    other, _ = coupling(x, (LABELS + 1) % N_CLASSES)
    assert z.shape == x.shape
    assert not torch.equal(z, other)


def test_label_only_scale_and_shift_do_not_depend_on_the_input():
    coupling = perturb(AffineCoupling(6, 8, n_classes=N_CLASSES, label_only=True, generator=generator()).double())
    x = torch.randn(N, 6, 4, 2, generator=generator(2), dtype=torch.float64)
    _, log_det = coupling(x, LABELS)
    _, of_other_input = coupling(x.flip(0), LABELS)
    assert torch.equal(log_det, of_other_input)
    assert log_det[0] != log_det[1]


def test_coupling_scale_is_bounded_smoothly():
    coupling = perturb(AffineCoupling(4, 8, 0, generator=generator()).double(), size=50)
    x = torch.randn(N, 4, generator=generator(2), dtype=torch.float64)
    _, log_scale = coupling.shift_and_log_scale(x[:, :2])
    assert log_scale.abs().max() > 1.9
    assert log_scale.abs().max() <= 2


def test_squeeze_makes_each_patch_four_channels():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    z, log_det = Squeeze()(x)
    assert z.shape == (1, 4, 2, 2)
    assert sorted(z[0, :, 0, 1].tolist()) == [2, 3, 6, 7]
    assert log_det.item() == 0


def test_splits_prior_is_a_normal_read_from_the_part_that_stays():
    split = perturb(Split(6).double())
    x = torch.randn(N, 6, 4, 2, generator=generator(2), dtype=torch.float64)
    stay, leave, log_prob, _ = split(x)
    mean, log_std = split.prior(stay).chunk(2, 1)
    log_std = 4 * torch.tanh(log_std / 4)
    by_hand = torch.distributions.Normal(mean, log_std.exp()).log_prob(leave).flatten(1).sum(1)
    torch.testing.assert_close(log_prob, by_hand)


def test_splits_samples_follow_its_prior():
    split = perturb(Split(2).double())
    stay = torch.full((4000, 1, 1, 1), 0.7, dtype=torch.float64)
    drawn = split.sample(stay, 1.0, generator()).flatten()
    grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    pairs = torch.stack([torch.full_like(grid, 0.7), grid], 1).view(-1, 2, 1, 1)
    density = split(pairs)[2].exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-3)
    mean = torch.trapezoid(density * grid, grid)
    std = torch.trapezoid(density * (grid - mean) ** 2, grid).sqrt()
    assert drawn.mean().item() == pytest.approx(mean.item(), abs=4 * std.item() / math.sqrt(4000))
    assert drawn.std().item() == pytest.approx(std.item(), rel=0.05)


def test_splits_sample_at_temperature_zero_is_the_mean():
    split = perturb(Split(2).double())
    stay = torch.randn(N, 1, 2, 2, generator=generator(2), dtype=torch.float64)
    mean, _ = split.prior(stay).chunk(2, 1)
    assert torch.equal(split.sample(stay, 0.0, generator()), mean)


def test_mixture_with_random_means_trains_none_of_them():
    assert not any(p.requires_grad for p in GaussianMixture((5,), N_CLASSES, generator=generator()).parameters())


def test_mixture_with_learned_means_trains_them():
    assert all(p.requires_grad for p in GaussianMixture((5,), N_CLASSES, learned=True).parameters())


def test_mixtures_class_log_prob_is_that_of_unit_gaussians():
    gmm = GaussianMixture((5,), N_CLASSES, generator=generator()).double()
    z1 = torch.randn(N, 5, generator=generator(2), dtype=torch.float64)
    expected = torch.distributions.Normal(gmm.means, 1.0).log_prob(z1[:, None]).sum(2)
    torch.testing.assert_close(gmm.log_prob_of_all_classes(z1), expected)


@pytest.mark.parametrize("name", ["head-image", "head-vector", "mixture-vector-random", "mixture-image-learned"])
def test_all_classes_in_one_pass_equal_one_pass_a_class(name):
    made = CASES[name]
    h = perturb(made.make(generator()).double()).eval()
    z1 = torch.randn(N, *made.shape, generator=generator(2), dtype=torch.float64)
    together = h.log_prob_of_all_classes(z1)
    for label in range(N_CLASSES):
        z_prime, log_det = h(z1, torch.full((N,), label))
        alone = torch.distributions.Normal(0, 1).log_prob(z_prime).flatten(1).sum(1) + log_det
        torch.testing.assert_close(together[:, label], alone)


@pytest.mark.parametrize(
    ("shape", "n_blocks", "z1_shape"),
    [((3, 64, 64), 4, (96, 4, 4)), ((1, 48, 48), 4, (32, 3, 3)), ((1, 8, 16), 1, (4, 4, 8))],
)
def test_glows_deepest_latent_has_the_papers_shape(shape, n_blocks, z1_shape):
    assert Glow(shape, n_blocks, 1, 4, generator=generator()).z1_shape == z1_shape


def test_glow_says_which_sides_fit():
    with pytest.raises(ValueError, match="n_blocks=3 needs sides divisible by 8, but the image is 12 x 8"):
        Glow((1, 12, 8), 3, 1, 4)


def test_a_matrix_without_an_inverse_raises_nothing():
    weight = torch.stack([torch.eye(2), torch.zeros(2, 2)])
    inverse, bias = invert_maps(weight, torch.ones(2, 2))
    assert torch.equal(inverse[0], torch.eye(2))
    assert torch.equal(bias[0], -torch.ones(2))
    assert not torch.isfinite(bias[1]).any()
