"""The usual attributions beside the flow's own map: occlusion, gradient x input and integrated gradients, by captum.

They ask the same question, the evidence for one class against another, but start from black, grey or nothing instead of
from a face; and they ask it of any classifier of this package, so that maps can be compared.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from flowexpr.arithmetic import own_arithmetic
from flowexpr.explain.evidence import EvidenceModel, compared_classes, refuse_one_class
from flowexpr.explain.pixel_map import sum_colours
from flowexpr.fitted import network_of, predictor_of
from flowexpr.labels import class_indices

__all__ = ["ATTRIBUTIONS", "EvidenceFunction", "attribute", "require_captum"]

ATTRIBUTIONS = ("occlusion", "gradient_x_input", "integrated_gradients")

WINDOW = 1 / 4
"""Side of the window that occludes, as a share of the image's shorter side; it moves by half of that."""

PATH_STEPS = 50
"""Steps from black to the image."""

AT_ONCE = 16
"""Images in one pass of the model."""


@own_arithmetic()
def attribute(
    estimator: Any, X: ArrayLike, method: str, *, label: Any = None, against: Any = None
) -> NDArray[np.float64]:
    """Attribute the evidence for one class against another to pixels (or features) by a method of captum [1]_.

    Parameters
    ----------
    estimator : FlowExpressionClassifier or CNNExpressionClassifier
        Fitted.
    X : array-like of the shape given to `fit`
        Samples.
    method : {"occlusion", "gradient_x_input", "integrated_gradients"}
        Occlusion replaces a sliding window by the mean of each image, and integrated gradients start from black (from
        the mean of the training samples, for vectors).
    label : label or array-like of shape (n,), default=None
        The class explained; None is the predicted one.
    against : label or array-like of shape (n,), default=None
        The class it is compared with; where it is None, or the class explained itself, the most probable other one.

    Returns
    -------
    maps : ndarray of shape (n, H, W) or (n, n_features)
        Nats, the colours of a pixel summed.

    Raises
    ------
    ValueError
        If the method or a label is unknown.
    NotFittedError
        If the estimator is not fitted.
    ImportError
        If captum is not installed.

    References
    ----------
    .. [1] Kokhlikyan et al., "Captum: A unified and generic model interpretability library for PyTorch", 2020,
       https://arxiv.org/abs/2009.07896
    """
    if method not in ATTRIBUTIONS:
        raise ValueError(f"method={method!r} was expected to be one of {', '.join(ATTRIBUTIONS)}.")
    require_captum("attribute")
    check_is_fitted(estimator)
    function = EvidenceFunction(estimator)
    a, b = function.pairs(X, label, against)
    rows = np.reshape(np.asarray(X), (len(a), -1))
    maps = []
    for start in range(0, len(a), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        with torch.inference_mode(False), torch.enable_grad():
            x = function.signal.to_model(rows[part]).to(a.device, function.dtype)
            maps.append(_by_captum(method, function, x, a[part], b[part]).detach().double().cpu().numpy())
    return sum_colours(np.concatenate(maps), estimator.image_shape_)


def require_captum(caller: str) -> None:
    """Fail early, with the remedy, where captum is missing."""
    try:
        import captum.attr  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} needs captum, which is not installed. Install it with: pip install 'flowexpr[explain]'"
        ) from error


class EvidenceFunction(nn.Module):
    """The evidence of a classifier as a function that torch differentiates.

    Parameters
    ----------
    estimator : FlowExpressionClassifier or CNNExpressionClassifier
        Fitted.

    Attributes
    ----------
    signal : ImageSignal or VectorSignal
        How rows become the function's variable.
    dtype : torch.dtype
        Of that variable.
    """

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.estimator, self.signal = estimator, estimator.signal_
        self._flow = EvidenceModel(predictor_of(estimator)) if hasattr(estimator, "encode") else None
        self._network: Any = network_of(estimator) if self._flow is None else self._flow.model
        self.dtype = next(self._network.parameters()).dtype
        self.device = next(self._network.parameters()).device

    def pairs(self, X: ArrayLike, label: Any, against: Any) -> tuple[Tensor, Tensor]:
        """Return the indices (n,) of the classes compared: those given, or the most probable ones."""
        refuse_one_class(label, against)
        scores, classes = self.estimator.predict_log_proba(X), self.estimator.classes_
        given = (None if one is None else class_indices(classes, one, len(scores)) for one in (label, against))
        a, b = compared_classes(scores, *given)
        return torch.from_numpy(a).to(self.device), torch.from_numpy(b).to(self.device)

    def forward(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the evidence (n,) of x (n, ...) for class a against b, nats, without the classes' priors."""
        if self._flow is not None:
            return self._flow.evidence(x, a, b)
        logits = self._network.mean_over_views(x, mirror=self.estimator.mirror_average)
        return (logits.gather(1, a[:, None]) - logits.gather(1, b[:, None]))[:, 0] / self.estimator.temperature_


def _by_captum(method: str, function: EvidenceFunction, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return attributions of the shape of x."""
    from captum.attr import InputXGradient, IntegratedGradients, Occlusion

    if method == "gradient_x_input":
        return InputXGradient(function).attribute(x.requires_grad_(), additional_forward_args=(a, b))
    if method == "integrated_gradients":
        black = torch.full_like(x, -0.5) if x.ndim == 4 else torch.zeros_like(x)
        return IntegratedGradients(function).attribute(
            x, black, additional_forward_args=(a, b), n_steps=PATH_STEPS, internal_batch_size=AT_ONCE
        )
    window: tuple[int, ...] = (1,)
    stride = window
    if x.ndim == 4:
        side = max(2, round(WINDOW * min(x.shape[2:])))
        window, stride = (x.shape[1], side, side), (x.shape[1], max(1, side // 2), max(1, side // 2))
    grey = x.mean((2, 3), keepdim=True).expand_as(x) if x.ndim == 4 else torch.zeros_like(x)
    with torch.no_grad():
        drops = Occlusion(function).attribute(
            x, window, stride, grey, additional_forward_args=(a, b), perturbations_per_eval=max(1, AT_ONCE // len(x))
        )
    # Every colour is given what its window takes away, which all of them share.
    return drops / x.shape[1] if x.ndim == 4 else drops
