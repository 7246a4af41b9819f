"""The estimator's parameters: what each may be, the paper's settings, and how "auto" is resolved."""

import math
import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

__all__ = [
    "PAPER",
    "check_parameters",
    "choose_n_blocks",
    "is_int",
    "is_real",
    "resolve_batch_size",
    "resolve_device",
    "resolve_loss",
    "resolve_max_epochs",
    "resolve_memory",
    "resolve_precision",
]

PAPER: dict[str, Any] = {
    "backbone": "glow",
    "head": "conditional",
    "n_blocks": 4,
    "n_flows": 32,
    "hidden_channels": 512,
    "head_n_flows": 4,
    "head_hidden_channels": 512,
    "class_loss_weight": 0.3,
    "n_bits": 5,
    "batch_size": 32,
    "learning_rate": 1e-4,
    "max_epochs": 1200,
    "augment": False,
    "mirror_average": False,
    "label_smoothing": 0.0,
    "weight_averaging": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "calibrate": None,
}
"""The paper's settings, every addition of ours off: ``FlowExpressionClassifier(**PAPER)`` is the paper's model."""

MEMORY_BUDGET = 4 * 2**30
"""Bytes of activations above which memory="auto" recomputes them instead of storing them."""

DEVICES = ("cpu", "cuda")
"""Where flowexpr computes; float64, which exact inverses need, is not on every other device."""

BATCH_SIZES = (16, 32)
"""Smallest and largest batch of batch_size="auto"."""

BATCHES_OF_AN_EPOCH = 8
"""batch_size="auto" makes the batches of small data sets smaller so that an epoch has this many."""

EPOCHS, MOST_EPOCHS, LEAST_STEPS = 30, 90, 700
"""max_epochs="auto": the first; for images more, up to the second, until training has this many steps."""

IMAGE_LOSS = (3.0, 0.1)
"""class_loss_weight and label_smoothing of "auto" for images."""

VECTOR_LOSS = (0.3, 0.0)
"""The same for vectors, of which density and class are learned together, and unlabelled rows tell the class."""

LARGEST_Z1_SIDE = 4
"""n_blocks="auto" makes the deepest latent at most this high and wide."""

Check = tuple[Callable[[Any], bool], str]


def is_int(value: Any) -> bool:
    """Tell whether a value is an integer, of Python or numpy, and no boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Tell whether a value is a finite number, of Python or numpy, and no boolean."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _one_of(*allowed: Any) -> Check:
    def check(value: Any) -> bool:
        return any(value is option or (isinstance(value, str) and value == option) for option in allowed)

    return check, "one of " + ", ".join(map(repr, allowed))


def _at_least(low: int, *, or_none: bool = False) -> Check:
    def check(value: Any) -> bool:
        return (or_none and value is None) or (is_int(value) and value >= low)

    return check, f"an integer of at least {low}" + (" or None" if or_none else "")


def _number(low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False) -> Check:
    def check(value: Any) -> bool:
        if not is_real(value):
            return False
        return (low < value if open_low else low <= value) and (value < high if open_high else value <= high)

    if high == math.inf:
        return check, f"a number {'greater than' if open_low else 'of at least'} {low:g}"
    return check, f"a number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"


def _is_shape(value: Any) -> bool:
    return value is None or (
        isinstance(value, tuple | list) and len(value) in (2, 3) and all(is_int(v) and v > 0 for v in value)
    )


def _either(is_special: Callable[[Any], bool], text: str, check: Check) -> Check:
    return (lambda value: is_special(value) or check[0](value)), f"{text} or {check[1]}"


def _or_auto(check: Check) -> Check:
    return _either(lambda value: isinstance(value, str) and value == "auto", '"auto"', check)


def _is_prior(value: Any) -> bool:
    try:
        return np.asarray(value, dtype=np.float64).ndim == 1
    except (TypeError, ValueError):
        return False


def _is_weights(value: Any) -> bool:
    return isinstance(value, dict) and all(is_real(weight) and weight > 0 for weight in value.values())


def _is_label(value: Any) -> bool:
    return value is None or (np.ndim(value) == 0 and value == value)  # not NaN, which equals nothing


_BOOL: Check = (lambda value: isinstance(value, bool | np.bool_), "True or False")

CHECKS: dict[str, Check] = {
    "backbone": _one_of(None, "glow", "realnvp"),
    "head": _one_of("conditional", "gmm"),
    "image_shape": (_is_shape, "None, (H, W) or (H, W, C) with positive integers"),
    "n_blocks": _or_auto((lambda v: is_int(v) and 1 <= v <= 16, "an integer from 1 to 16")),
    "n_flows": _at_least(1),
    "hidden_channels": _at_least(1),
    "head_n_flows": _at_least(1),
    "head_hidden_channels": _at_least(1),
    "n_features": _at_least(1),
    "gmm_means": _one_of("random", "learned"),
    "class_loss_weight": _or_auto(_number(0)),
    "class_prior": _either(_is_prior, "an array of probabilities", _one_of("empirical", "uniform")),
    "class_weight": _either(_is_weights, "a dict {label: weight greater than 0}", _one_of(None, "balanced")),
    "unlabeled": (_is_label, "a label (a string, an integer, a boolean) or None"),
    "n_bits": (lambda v: is_int(v) and 1 <= v <= 8, "an integer from 1 to 8"),
    "augment": _either(callable, "a callable (images, generator) -> images", _BOOL),
    "label_smoothing": _or_auto(_number(0, 1, open_high=True)),
    "weight_averaging": _number(0, 1, open_high=True),
    "max_epochs": _or_auto(_at_least(1)),
    "max_steps": _at_least(1, or_none=True),
    "batch_size": _or_auto(_at_least(1)),
    "learning_rate": _number(0, open_low=True),
    "schedule": _one_of("one-cycle", "constant"),
    "weight_decay": _number(0),
    "validation_fraction": _either(lambda v: v is None, "None", _number(0, 1, open_low=True, open_high=True)),
    "patience": _at_least(1, or_none=True),
    "device": (lambda v: isinstance(v, str | torch.device), 'a device name such as "auto", "cpu" or "cuda"'),
    "precision": _one_of("auto", "mixed", "float32", "float64"),
    "memory": _one_of("auto", "store", "reversible"),
    "mirror_average": _BOOL,
    "calibrate": _one_of(None, "temperature"),
    "zero_z1": _BOOL,
    "checkpoint_dir": (lambda v: v is None or isinstance(v, str | os.PathLike), "a path or None"),
    "warm_start": _BOOL,
    "verbose": (lambda v: isinstance(v, bool) or (is_int(v) and v >= 0), "an integer of at least 0"),
}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Raise a ValueError that names the first parameter whose value is not allowed, what is, and what came."""
    for name, value in parameters.items():
        if name not in CHECKS:
            continue
        is_allowed, expected = CHECKS[name]
        if not is_allowed(value):
            raise ValueError(f"{name}={value!r} is not allowed. Pass {expected}.")
    if parameters["patience"] is not None and parameters["validation_fraction"] is None:
        raise ValueError(
            f"patience={parameters['patience']} needs a validation set, but validation_fraction=None. "
            "Pass validation_fraction=0.1, say, or patience=None."
        )
    if parameters.get("zero_z1") and parameters["head"] != "conditional":
        raise ValueError(
            f"zero_z1=True is for head='conditional', but head={parameters['head']!r}. Pass zero_z1=False."
        )


def choose_n_blocks(n_blocks: int | str, height: int, width: int) -> int:
    """Return the number of blocks for an image, or say which would fit.

    "auto" is the smallest n with max(H, W) / 2**n <= 4, so that the deepest latent is small and global, or else
    the largest that divides both sides.
    """
    largest = 0
    while height % 2 ** (largest + 1) == 0 and width % 2 ** (largest + 1) == 0:
        largest += 1
    if largest == 0:
        raise ValueError(
            f"the image is {height} x {width}, but its sides must be divisible by 2**n_blocks, so at least by 2. "
            "Resize or crop the images to even sides; flatten signals that are no images to (n, n_features)."
        )
    if n_blocks == "auto":
        wanted = max(1, math.ceil(math.log2(max(height, width) / LARGEST_Z1_SIDE)))
        return min(wanted, largest)
    if int(n_blocks) > largest:
        fitting = ", ".join(map(str, range(1, largest + 1)))
        raise ValueError(
            f"n_blocks={n_blocks} needs sides divisible by {2 ** int(n_blocks)}, but the image is {height} x {width}. "
            f"Pass {'n_blocks=1' if largest == 1 else 'one of n_blocks=' + fitting}, or resize the images."
        )
    return int(n_blocks)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the torch device; "auto" is a CUDA GPU where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is no torch device. Pass 'auto', 'cpu' or 'cuda'.") from error
    if resolved.type not in DEVICES:
        raise ValueError(f"device={str(device)!r} was expected to be 'auto', 'cpu' or 'cuda', which are tested.")
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={str(device)!r} was asked for, but torch sees no CUDA GPU. Pass device='auto'.")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA GPUs, counted from "
            "0. Pass device='auto', or the number of one."
        )
    return resolved


def has_native_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def resolve_precision(precision: str, device: torch.device, *, is_image: bool) -> str:
    """Return "float32", "float64" or "mixed" (bfloat16 inside f's networks); "auto" chooses by the hardware."""
    if precision != "auto":
        return precision
    return "mixed" if is_image and has_native_bfloat16(device) else "float32"


def resolve_batch_size(batch_size: int | str, n_samples: int) -> int:
    """Return the rows of a batch; "auto" is 32, or an eighth of fewer than 256 samples, at least 16."""
    if batch_size != "auto":
        return int(batch_size)
    smallest, largest = BATCH_SIZES
    return min(largest, max(smallest, n_samples // BATCHES_OF_AN_EPOCH))


def resolve_max_epochs(max_epochs: int | str, n_batches: int, *, is_image: bool) -> int:
    """Return the passes over the training set; "auto" is 30, of images up to 90 where that is under 700 steps."""
    if max_epochs != "auto":
        return int(max_epochs)
    return min(MOST_EPOCHS, max(EPOCHS, -(-LEAST_STEPS // n_batches))) if is_image else EPOCHS


def resolve_loss(
    class_loss_weight: float | str, label_smoothing: float | str, *, is_image: bool
) -> tuple[float, float]:
    """Return lambda of equation 6 and the label smoothing; "auto" chooses by the kind of data."""
    chosen = zip((class_loss_weight, label_smoothing), IMAGE_LOSS if is_image else VECTOR_LOSS, strict=True)
    weight, smoothing = (default if value == "auto" else float(value) for value, default in chosen)
    return weight, smoothing


def resolve_memory(memory: str, activation_bytes: int) -> str:
    """Return "store" or "reversible"; "auto" compares the activations' size with `MEMORY_BUDGET`."""
    if memory != "auto":
        return memory
    return "reversible" if activation_bytes > MEMORY_BUDGET else "store"
