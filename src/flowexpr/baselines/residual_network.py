"""The paper's CNN: four stacks of residual blocks, each a pair of Conv-BatchNorm-ReLU, then two dense layers.

    x (n, C, H, W) -> stack 1 (n, w, H/2, W/2) -> ... -> stack 4 (n, 8w, H/16, W/16)
                   -> mean over positions (n, 8w) -> dense, ReLU: deep features (n, d) -> dense: logits (n, n_classes)

The paper names neither widths nor depths. Here a stack is one block, which halves the image and doubles the channels.
The shortcut halves by a mean and not by a strided convolution, which would drop three values of four [2]_.

References
----------
.. [1] He et al., "Deep Residual Learning for Image Recognition", 2016, https://arxiv.org/abs/1512.03385
.. [2] He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", 2019,
   https://arxiv.org/abs/1812.01187
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_STACKS = 4


class ResidualBlock(nn.Module):
    """Two Conv-BatchNorm-ReLU beside a shortcut; the first convolution halves height and width [1]_.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.shortcut_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, H, W) to (n, out_channels, H/2, W/2)."""
        inner = F.relu(self.first_norm(self.first(x)))
        inner = self.second_norm(self.second(inner))
        return F.relu(inner + self.shortcut_norm(self.shortcut(F.avg_pool2d(x, 2, ceil_mode=True))))


class ResidualNetwork(nn.Module):
    """Four residual stacks and two dense layers.

    Parameters
    ----------
    in_channels : int
        Channels of an image.
    n_classes : int
        Number of classes.
    hidden_channels : int, default=32
        Channels of the first stack; each further stack has twice as many.
    n_features : int, default=128
        Length of the deep features.
    """

    def __init__(self, in_channels: int, n_classes: int, hidden_channels: int = 32, n_features: int = 128) -> None:
        super().__init__()
        widths = [in_channels, *(hidden_channels * 2**i for i in range(N_STACKS))]
        self.stacks = nn.Sequential(*(ResidualBlock(*pair) for pair in pairwise(widths)))
        self.features = nn.Linear(widths[-1], n_features)
        self.logits = nn.Linear(n_features, n_classes)

    def deep_features(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to deep features (n, n_features)."""
        return F.relu(self.features(self.stacks(x).mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to logits (n, n_classes)."""
        return self.logits(self.deep_features(x))

    def mean_over_views(self, x: Tensor, *, mirror: bool) -> Tensor:
        """Return the logits (n, n_classes) of images (n, C, H, W), the mean with their mirror images' if asked for."""
        logits: Tensor = self(x)
        return (logits + self(x.flip(-1))) / 2 if mirror else logits


def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Draw He's initial weights of every convolution and dense layer from a generator."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
