"""What may come into the estimator: images, vectors and latents, and clear words otherwise; labels are in labels.py."""

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from flowexpr.exceptions import warn
from flowexpr.labels import check_groups, check_lengths, of_their_kinds, on_cpu

__all__ = [
    "FitInput",
    "as_array",
    "as_frame",
    "as_latent",
    "as_rows",
    "check_features",
    "check_latents",
    "check_pixels",
    "find_input_range",
    "image_shape_of",
    "named_levels",
    "read_fit_input",
]

CHUNK_BYTES = 2**26
"""Bytes of X whose extremes are taken at a time, so that a memmap is never read into memory as a whole."""

FEWEST_LEVELS = 4
"""Fewer grey levels than this cannot be what was meant."""

ROUNDING = 1e-3
"""How far a pixel may lie outside its range by rounding; it is clipped."""

LARGEST = 1e38
"""Standard deviations of a feature from its mean, about the largest float32. What flows and head make of much more is
no number any longer."""


class FitInput(NamedTuple):
    """What was passed to `fit`, validated.

    Attributes
    ----------
    rows : ndarray of shape (n, n_features)
        Samples, flattened.
    labels : ndarray of shape (n,)
        Labels as they came.
    groups : ndarray of shape (n,) or None
        The person of every sample.
    image_shape : tuple (H, W, C) or None
        Shape of an image; None for vectors.
    sample_shape : tuple
        Shape of one sample as it came.
    """

    rows: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None
    image_shape: tuple[int, int, int] | None
    sample_shape: tuple[int, ...]


def read_fit_input(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None,
    image_shape: tuple[int, ...] | None,
) -> FitInput:
    """Validate what was passed to `fit`, for an estimator whose number and names of features are set.

    Raises
    ------
    ValueError
        If X, y or groups is not what it must be.
    """
    X = as_array(X)
    given_shape = np.shape(X)
    shape = image_shape_of(given_shape, image_shape)
    check_lengths(given_shape, y)
    y = of_their_kinds(y)
    people = check_groups(given_shape, groups)
    rows, labels = validate_data(estimator, as_rows(X), y, dtype="numeric")
    return FitInput(rows, labels, people, shape, given_shape[1:])


def image_shape_of(shape: tuple[int, ...], image_shape: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """Return (H, W, C) for the shape of X and the parameter image_shape; None for vectors.

    Parameters
    ----------
    shape : tuple of int
        Shape of X: (n, n_features), (n, H, W) or (n, H, W, C).
    image_shape : tuple or None
        (H, W), (H, W, C) or None.
    """
    declared = None if image_shape is None else _with_channels(image_shape)
    if len(shape) <= 2:
        if declared is not None and len(shape) == 2 and int(np.prod(declared)) != shape[1]:
            raise ValueError(
                f"image_shape={declared} implies {int(np.prod(declared))} features, but X has {shape[1]}. "
                "Pass images of that shape, or image_shape=None."
            )
        return declared
    if len(shape) > 4:
        raise ValueError(
            f"X was expected to be (n, n_features), (n, H, W) or (n, H, W, C), but has shape {shape}. "
            "Reshape it; flatten signals of other kinds to (n, n_features)."
        )
    found = _with_channels(shape[1:])
    if declared is None and found[0] in (1, 3, 4) and found[2] > max(4, found[0]):
        raise ValueError(
            f"images were expected as (n, H, W, C), but X has shape {shape}, as of images whose channels come first. "
            f"Pass np.moveaxis(X, 1, -1), or image_shape={found} if that is their shape."
        )
    if declared is not None and declared != found:
        raise ValueError(
            f"image_shape={declared} was declared, but the images of X are {found}. "
            "Pass image_shape=None, or images of that shape."
        )
    return found


def _with_channels(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (H, W, C) for (H, W) or (H, W, C)."""
    height, width, *channels = shape
    return int(height), int(width), int(channels[0]) if channels else 1


def as_array(X: Any) -> Any:
    """Return lists, tensors and the like as arrays; data frames and sparse matrices as they are.

    Raises
    ------
    ValueError
        If X is a path, or paths, or nothing; if the shapes of its samples differ; if some of it is masked; or if it
        holds dates.
    """
    if np.ma.is_masked(X):
        raise ValueError(
            f"{np.ma.count_masked(X)} of {np.size(X)} values of X are masked, but every value is needed. Leave these "
            "samples out, or fill the values in: X.filled(0), say."
        )
    first = X[0] if isinstance(X, list | tuple) and len(X) else X
    if first is None or isinstance(first, str | os.PathLike):
        what = "None" if first is None else f"the path {os.fspath(first)!r}{'' if first is X else ' and others'}"
        raise ValueError(
            f"X was expected to be an array, but is {what}. Read images with flowexpr.datasets.load_faces, which can "
            "also leave those of a large folder on disk (memmap)."
        )
    if hasattr(X, "detach"):
        X = on_cpu(X)
        X = X.float() if "bfloat16" in str(X.dtype) else X  # of which numpy knows nothing
    is_array_like = isinstance(X, list | tuple) or hasattr(X, "__array__")
    if is_array_like and not isinstance(X, np.ndarray) and not hasattr(X, "iloc"):
        X = _without_gaps(X)
    _refuse_dates(X)
    is_column_of_images = getattr(X, "ndim", 0) == 1 and len(X) and str(X.dtype) == "object" and _are_images(X)
    return _without_gaps(list(X)) if is_column_of_images else X


def _refuse_dates(X: Any) -> None:
    dtypes = list(X.dtypes) if hasattr(X, "iloc") and X.ndim == 2 else [getattr(X, "dtype", None)]
    dates = [str(dtype) for dtype in dtypes if getattr(dtype, "kind", "") in ("m", "M")]
    if dates:
        raise ValueError(
            f"X was expected to hold numbers, but holds dates or durations ({dates[0]}). Pass seconds since a fixed "
            "time instead, say."
        )


def _are_images(column: Any) -> bool:
    return all(isinstance(one, list | tuple) or np.ndim(one) > 1 for one in column)


def _without_gaps(X: Any) -> NDArray[Any]:
    """Return a list of samples as an array; raise a ValueError where their shapes differ."""
    try:
        return np.asarray(X)
    except ValueError:
        shapes = sorted({np.shape(one) for one in X}) if all(map(_is_regular, X)) else []
        if len(shapes) < 2:
            raise
        raise ValueError(
            f"X was expected to hold samples of one shape, but holds {len(shapes)}: "
            f"{', '.join(map(str, shapes[:3]))}{', ...' if len(shapes) > 3 else ''}. Make them equal; `flowexpr "
            "prepare` cuts faces out of images."
        ) from None


def _is_regular(sample: Any) -> bool:
    try:
        np.shape(sample)
    except ValueError:
        return False
    return True


def as_frame(x: Any) -> Any:
    """Return a Series, which a row of a DataFrame is, as a DataFrame of one row; anything else as it is."""
    return x.to_frame().T if hasattr(x, "to_frame") else x


def as_rows(X: Any, image_shape: tuple[int, int, int] | None = None) -> Any:
    """Return X with every image flattened to a row; what is 2-D already, or no array, comes back as it is.

    Parameters
    ----------
    X : array-like
        Images (n, H, W) or (n, H, W, C), or rows.
    image_shape : tuple (H, W, C), optional
        What a fitted model expects of an image.
    """
    X = as_array(X)
    if getattr(X, "ndim", None) in (1, 2, 3) and image_shape is not None:
        single = X.shape == image_shape or (image_shape[2] == 1 and X.shape == image_shape[:2])
        if single:
            raise ValueError(
                f"X was expected to be a batch of images (n, {', '.join(map(str, image_shape))}), but has the shape "
                f"{X.shape} of a single image. Pass X[None]."
            )
    if getattr(X, "ndim", 0) < 3:
        return X
    if image_shape is not None and _with_channels(X.shape[1:]) != image_shape:
        raise ValueError(
            f"the model was fitted on images of shape {image_shape} (H, W, C), but X has images of shape "
            f"{X.shape[1:]}. Resize the images, and make grey or colour agree."
        )
    if isinstance(X, np.memmap) and not X.flags.c_contiguous and X.nbytes > CHUNK_BYTES:
        warn(
            f"X is a part of a memory map, or one in another order, and is read into memory as a whole "
            f"({X.nbytes / 2**30:.1f} GiB). Write it into a file of its own, to be read a batch at a time."
        )
    return X.reshape(len(X), -1) if len(X) else X.reshape(0, int(np.prod(X.shape[1:])))


def find_input_range(rows: NDArray[Any], n_bits: int) -> tuple[float, float]:
    """Return what black and white are in rows of pixels: (0, 255), or (0, 1) for floats that stay within.

    Warns where pixels within 0..255 span so little that `n_bits` bits keep fewer than `FEWEST_LEVELS` levels.

    Raises
    ------
    ValueError
        If a pixel lies outside 0 to 255.
    """
    if rows.dtype == np.uint8 and np.ptp(rows[0]) * 2.0 ** (n_bits - 8) >= FEWEST_LEVELS:
        return (0.0, 255.0)  # as nearly always, without reading all of a memmap
    low, high = _extremes(rows)
    if not (low >= -ROUNDING and high <= 255 + ROUNDING):  # nor NaN, where scikit-learn was told to let it pass
        raise ValueError(
            f"images were expected within 0..1 or 0..255, but X runs from {low:g} to {high:g}. "
            "Scale them by fixed numbers, the same for every image, and clip what lies outside; flatten signals that "
            "are no images to (n, n_features)."
        )
    if rows.dtype == np.bool_ or (rows.dtype.kind == "f" and high <= 1 + ROUNDING):
        return (0.0, 1.0)
    n_levels = math.ceil((high - low) * 2.0 ** (n_bits - 8))
    if 0 < n_levels < min(FEWEST_LEVELS, 2**n_bits):
        warn(
            f"images that run from {low:g} to {high:g} are taken as grey levels 0..255, of which n_bits={n_bits} "
            f"keeps about {n_levels} in that range. Scale them by fixed numbers to floats within 0..1, or to 0..255, "
            "the same for every image."
        )
    return (0.0, 255.0)


def check_pixels(rows: NDArray[Any], input_range: tuple[float, float]) -> None:
    """Raise a ValueError if pixels lie outside the range that a model was fitted on, or fill a 255th part of it."""
    of_bytes = input_range[1] == 255
    if rows.dtype == np.uint8 and of_bytes:
        return
    low, high = _extremes(rows)
    if rows.dtype == np.uint8:
        if high == 1:
            warn(
                "images of the numbers 0 and 1 as uint8 are taken as nearly black, since bytes run to 255. Pass them "
                "as floats or booleans, as the training images were."
            )
        return
    may_be_unscaled = of_bytes and 0 < high <= 1
    is_fraction = rows.dtype == np.bool_ or (may_be_unscaled and _hold_fractions(rows))
    if may_be_unscaled and not is_fraction and rows.dtype.kind == "f":
        warn(
            "images of the numbers 0 and 1 alone are taken as nearly black, since those that the model was fitted on "
            "run to 255. Scale X as the training images were scaled."
        )
    if (may_be_unscaled and is_fraction) or low < input_range[0] - ROUNDING or high > input_range[1] + ROUNDING:
        raise ValueError(
            f"the model was fitted on images within {input_range[0]:g}..{input_range[1]:g}, but X runs from {low:g} "
            f"to {high:g}. Scale X as the training images were scaled, or pass uint8 images."
        )


def check_features(rows: NDArray[Any], mean: tuple[float, ...], scale: tuple[float, ...]) -> None:
    """Raise a ValueError where a feature lies too far from those that a model was fitted on to be computed with."""
    with np.errstate(over="ignore"):
        too_large = np.abs(rows - np.array(mean)) > LARGEST * np.array(scale)
    if too_large.any():
        row, column = np.argwhere(too_large)[0]
        spread = f" +- {scale[column]:.3g}" if scale[column] != 1 else ""  # that of a constant feature
        raise ValueError(
            f"X holds {rows[row, column]:.3g} in row {row}, column {column}, where the training samples have "
            f"{mean[column]:.3g}{spread}: too large to compute with. Mend or leave out such rows."
        )


def as_latent(name: str, level: Any) -> NDArray[np.floating]:
    """Return a latent as an array of native floats; raise a ValueError where it holds anything but real numbers."""
    level = np.asarray(on_cpu(level))
    if level.dtype.kind not in "biuf":
        raise ValueError(f"{name} was expected to hold real numbers, but is of dtype {level.dtype}.")
    return level.astype(np.float64 if level.dtype.kind != "f" else level.dtype.newbyteorder("="), copy=False)


def named_levels(latents: Mapping[str, NDArray[Any]], shapes: list[tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Return z1, z2, ... of latents, as many as there are shapes; raise a ValueError where one is missing or wrong."""
    names = [f"z{i + 1}" for i in range(len(shapes))]
    missing = [name for name in names if name not in latents]
    if missing:
        raise ValueError(
            f"latents were expected to hold {', '.join(names)}, but {missing[0]} is missing (given: "
            f"{', '.join(latents)}). Pass what `encode` returned; z1 may be left out beside z1_prime and y."
        )
    levels = {name: latents[name] for name in names}
    check_latents(levels, shapes)
    return levels


def check_latents(levels: dict[str, NDArray[Any]], shapes: list[tuple[int, ...]]) -> None:
    """Raise a ValueError where latents have other shapes than those of one sample, or other lengths, or NaN."""
    for (name, level), shape in zip(levels.items(), shapes, strict=True):
        if level.shape[1:] != shape:
            raise ValueError(
                f"{name} was expected to have shape (n, {', '.join(map(str, shape))}), but has {level.shape}. "
                "Pass what `encode` returned."
            )
        if not np.isfinite(level).all():
            raise ValueError(f"finite latents were expected, but {name} holds NaN or infinity.")
    lengths = {name: len(level) for name, level in levels.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"latents of the same samples, at least one, were expected, but came {lengths}.")


def _extremes(rows: NDArray[Any]) -> tuple[float, float]:
    found = [(chunk.min(), chunk.max()) for chunk in _chunks(rows)]
    return float(min(low for low, _ in found)), float(max(high for _, high in found))


def _hold_fractions(rows: NDArray[Any]) -> bool:
    return rows.dtype.kind == "f" and any((chunk != np.rint(chunk)).any() for chunk in _chunks(rows))


def _chunks(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, CHUNK_BYTES // max(1, rows[:1].nbytes))
    return (rows[start : start + step] for start in range(0, len(rows), step))
