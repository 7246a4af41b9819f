"""Maps of the CNN that the explanation benchmark compares with: Grad-CAM, LIME and LRP, by captum."""

from typing import Any

import numpy as np
import torch
from captum.attr import LRP, LayerAttribution, LayerGradCam, Lime
from captum.attr._utils.custom_modules import Addition_Module
from torch import Tensor, nn

from flowexpr.explain.attributions import EvidenceFunction

N_LIME = 400
"""Perturbed copies of an image that LIME fits its linear model to."""
LIME_GRID = 8
"""Superpixels along a side."""


def grad_cam(model: Any, X: np.ndarray, y: np.ndarray, against: Any) -> np.ndarray:
    """Grad-CAM at the second stack, the last whose maps are finer than the features of a face."""
    function, x, a, b = _asked(model, X, y, against)
    layer = model.module_.stacks[1]
    with torch.enable_grad():
        maps = [
            LayerGradCam(_OneView(function), layer).attribute(
                one[None].requires_grad_(), additional_forward_args=(a[i : i + 1], b[i : i + 1])
            )
            for i, one in enumerate(x)
        ]
    finer = LayerAttribution.interpolate(torch.cat(maps), x.shape[2:], interpolate_mode="bilinear")
    return finer[:, 0].detach().numpy()


def lime(model: Any, X: np.ndarray, y: np.ndarray, against: Any) -> np.ndarray:
    """LIME on a grid of superpixels, those left out being the mean of the image."""
    function, x, a, b = _asked(model, X, y, against)
    height, width = x.shape[2:]
    rows, columns = (torch.arange(side) * LIME_GRID // side for side in (height, width))
    mask = (rows[:, None] * LIME_GRID + columns)[None, None]
    torch.manual_seed(0)  # captum draws from the global generator
    maps = [
        Lime(function).attribute(
            one[None],
            baselines=one.mean((1, 2)).view(1, -1, 1, 1).expand_as(one[None]),
            additional_forward_args=(a[i : i + 1], b[i : i + 1]),
            feature_mask=mask.expand(1, x.shape[1], -1, -1),
            n_samples=N_LIME,
            perturbations_per_eval=50,
        )[0]
        for i, one in enumerate(x)
    ]
    return torch.stack(maps)[:, 0].detach().numpy()


def layerwise_relevance(model: Any, X: np.ndarray, y: np.ndarray, against: Any) -> np.ndarray:
    """LRP by captum's epsilon rule, on the same network written in modules; of the image, not its mirror image."""
    _, x, a, b = _asked(model, X, y, against)
    network = _Modules(model.module_).eval()
    maps = []
    with torch.enable_grad():
        for i, one in enumerate(x):
            image = one[None].clone().requires_grad_()
            of_a, of_b = (LRP(network).attribute(image, target=int(label[i])) for label in (a, b))
            maps.append((of_a - of_b)[0].sum(0).detach())
    return torch.stack(maps).numpy()


def _asked(model: Any, X: np.ndarray, y: np.ndarray, against: Any) -> tuple[EvidenceFunction, Tensor, Tensor, Tensor]:
    function = EvidenceFunction(model)
    a, b = function.pairs(X, y, against)
    return function, model.signal_.to_model(X.reshape(len(X), -1)), a, b


class _OneView(nn.Module):
    """The evidence of the image as given; a layer is seen once, not once a view."""

    def __init__(self, function: EvidenceFunction) -> None:
        super().__init__()
        self.network = function.estimator.module_

    def forward(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        logits = self.network(x)
        return (logits.gather(1, a[:, None]) - logits.gather(1, b[:, None]))[:, 0]


class _Modules(nn.Module):
    """The residual network with a module for every operation, as LRP needs it, sharing its weights."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(block) for block in network.stacks))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.features, self.relu, self.logits = network.features, nn.ReLU(), network.logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.relu(self.features(self.pool(self.blocks(x)).flatten(1))))


class _Block(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(block.first, block.first_norm, nn.ReLU(), block.second, block.second_norm)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), block.shortcut, block.shortcut_norm)
        self.sum, self.relu = Addition_Module(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.sum(self.inner(x), self.shortcut(x)))
