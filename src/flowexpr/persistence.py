"""Saving and loading a fitted estimator: one safetensors file with a JSON description, nothing pickled."""

import copy
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from flowexpr.arithmetic import own_arithmetic
from flowexpr.exceptions import ModelFileError, some
from flowexpr.parameters import resolve_device
from flowexpr.signals import signal_from_state
from flowexpr.storage import read_tensors, write_tensors

if TYPE_CHECKING:
    from flowexpr.baselines import CNNExpressionClassifier
    from flowexpr.classifier import FlowExpressionClassifier

__all__ = ["SaveMixin", "library_versions", "load", "load_into", "on_cpu", "save"]

FORMAT = 1
"""Version of the file's layout; a file with a higher one was written by a newer flowexpr."""

MODULE = "module."
"""What the names of the module's tensors begin with in the file."""

PREPROCESSING = "preprocessing_"
"""The one fitted attribute that only models have which the command line made."""


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape a result."""
    versions = {"python": platform.python_version()}
    for name in ("flowexpr", "torch", "numpy", "scikit-learn", "scipy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


class SaveMixin:
    """How estimators with a module are kept: in a file of tensors and JSON, or pickled without a GPU.

    An estimator of this package builds its module itself (`_build_module`), and says what else it knows: attributes
    that JSON holds (`_fitted_scalars`), and arrays (`_arrays`).
    """

    _fitted_scalars: ClassVar[tuple[str, ...]] = (
        "n_features_in_",
        "n_steps_",
        "seed_",
        "temperature_",
        "batch_size_",
        "validation_",
        "history_",
    )

    def _build_module(self) -> None:
        """Make an untrained module of the fitted shapes; its weights are loaded afterwards."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return the fitted arrays that the file holds beside the module."""
        return {}

    def _set_arrays(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take out of the arrays of a file what `_arrays` returned; attributes that JSON holds are set before."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file of tensors and JSON; `flowexpr.load` reads it.

        Parameters
        ----------
        path : path-like
            The file; written whole or not at all.
        """
        check_is_fitted(self)
        save(self, path)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickling, its tensors on the CPU."""
        state = dict(super().__getstate__())  # type: ignore[call-overload]
        if "module_" in state:
            state["module_"] = on_cpu(state["module_"])
        return state


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file, atomically (see `FlowExpressionClassifier.save`)."""
    if not all(isinstance(label, str | int | float) for label in estimator.classes_.tolist()):
        raise ValueError(
            f"labels were expected to be strings, numbers or booleans, but are {type(estimator.classes_[0]).__name__}, "
            "which the file does not hold. Fit on their names."
        )
    tensors = {f"{MODULE}{name}": t for name, t in estimator.module_.state_dict().items()}
    tensors |= {name: torch.from_numpy(array) for name, array in estimator._arrays().items()}
    write_tensors(path, tensors, _describe(estimator))


def _kind(estimator: "FlowExpressionClassifier | CNNExpressionClassifier") -> str:
    """Return the name of the class of this package that an estimator is of; a user's own class may extend it."""
    return next(kind.__name__ for kind in type(estimator).__mro__ if kind.__module__.startswith("flowexpr."))


def _describe(estimator: "FlowExpressionClassifier | CNNExpressionClassifier") -> dict[str, Any]:
    names = (*estimator._fitted_scalars, *([PREPROCESSING] if hasattr(estimator, PREPROCESSING) else []))
    return {
        "format": FORMAT,
        "estimator": _kind(estimator),
        "versions": library_versions(),
        "parameters": {name: _to_json(value) for name, value in estimator.get_params(deep=False).items()},
        "classes": {"values": estimator.classes_.tolist(), "dtype": estimator.classes_.dtype.str},
        "signal": estimator.signal_.state(),
        "image_shape": estimator.image_shape_,
        "input_range": estimator.input_range_,
        "feature_names": getattr(estimator, "feature_names_in_", np.array([])).tolist(),
        "fitted": {name: getattr(estimator, name) for name in names},
    }


def _to_json(value: Any) -> Any:
    """Return a parameter as JSON holds it; functions and generators, which it cannot hold, become None."""
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "iloc"):
        return value.tolist()
    if isinstance(value, dict):
        return {"labels": [_to_json(k) for k in value], "weights": [_to_json(v) for v in value.values()]}
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    if isinstance(value, torch.device | os.PathLike):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else None


@own_arithmetic()
def load(path: str | os.PathLike[str], device: str = "auto") -> Any:
    """Load an estimator that `FlowExpressionClassifier.save` or `CNNExpressionClassifier.save` wrote.

    Parameters
    ----------
    path : path-like
        The file.
    device : str, default="auto"
        Where the loaded estimator computes; the file may come from a machine with another.

    Returns
    -------
    estimator : FlowExpressionClassifier or CNNExpressionClassifier
        Fitted; predicts as the saved one did. It is of this package's class, also where a class of one's own that
        extends it was saved.

    Raises
    ------
    FileNotFoundError
        If there is no file at `path`.
    ModelFileError
        If the file is truncated, was changed, or was written by a newer flowexpr.

    Examples
    --------
    >>> import tempfile, os
    >>> import flowexpr
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = flowexpr.FlowExpressionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clf.save(os.path.join(folder, "iris.safetensors"))
    ...     same = flowexpr.load(os.path.join(folder, "iris.safetensors"))
    >>> bool((same.predict(X) == clf.predict(X)).all())
    True
    """
    from flowexpr.baselines import CNNExpressionClassifier
    from flowexpr.classifier import FlowExpressionClassifier

    tensors, description = read_tensors(path)
    _check_format(path, description)
    parameters = description["parameters"]
    if isinstance(parameters.get("image_shape"), list):
        parameters["image_shape"] = tuple(parameters["image_shape"])
    if isinstance(parameters.get("class_weight"), dict):
        weights = parameters["class_weight"]
        parameters["class_weight"] = dict(zip(weights["labels"], weights["weights"], strict=True))
    if parameters.get("augment") is None:
        parameters["augment"] = False  # a function cannot be saved, and prediction does not need it
    if isinstance(parameters.get("class_prior"), list):
        parameters["class_prior"] = np.array(parameters["class_prior"])
    kinds = {kind.__name__: kind for kind in (FlowExpressionClassifier, CNNExpressionClassifier)}
    try:
        estimator = kinds[description["estimator"]](**parameters).set_params(device=device)
    except (KeyError, TypeError) as error:
        raise ModelFileError(
            f"{path} was written by flowexpr {description['versions']['flowexpr']}, whose estimator or parameters this "
            f"one does not know ({error}). Install that version."
        ) from error
    _restore(estimator, path, tensors, description)
    return estimator


def load_into(estimator: "FlowExpressionClassifier", path: str | os.PathLike[str]) -> None:
    """Set the fitted attributes of an estimator from a file, leaving its parameters as they are."""
    tensors, description = read_tensors(path)
    _check_format(path, description)
    _restore(estimator, path, tensors, description)


def on_cpu(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module if it is on the CPU, or else a copy there; the module itself stays where it is."""
    return module if next(module.parameters()).device.type == "cpu" else copy.deepcopy(module).cpu()


def _check_format(path: str | os.PathLike[str], description: Any) -> None:
    parts = ("estimator", "format", "versions", "parameters")
    if not isinstance(description, dict) or not all(part in description for part in parts):
        raise ModelFileError(f"{path} holds no flowexpr model. Pass a file that `save` wrote.")
    if description["format"] > FORMAT:
        raise ModelFileError(
            f"{path} has format {description['format']}, written by flowexpr {description['versions']['flowexpr']}, "
            f"but this is flowexpr {library_versions()['flowexpr']}, which reads up to format {FORMAT}. "
            "Install a newer flowexpr."
        )


def _restore(
    estimator: Any, path: str | os.PathLike[str], tensors: dict[str, Tensor], description: dict[str, Any]
) -> None:
    """Set the fitted attributes of an estimator from what stands in a file; raise a ModelFileError where it cannot."""
    try:
        _set_fitted(estimator, tensors, description)
    except (KeyError, AttributeError, RuntimeError) as error:  # names or tensors are missing, or do not fit
        told = str(error).partition("\n\t")[2] or str(error)  # torch's list of what is missing, without its headline
        raise ModelFileError(
            f"{path} lacks a part of a model, or has one that does not fit ({told.strip()}). It was written by "
            f"flowexpr {description['versions']['flowexpr']}: install that version, or fit again."
        ) from error


def _set_fitted(estimator: Any, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    classes = description["classes"]
    estimator.classes_ = np.array(classes["values"], dtype=np.dtype(classes["dtype"]))
    shape, input_range = description["image_shape"], description["input_range"]
    estimator.image_shape_ = None if shape is None else tuple(shape)
    estimator.input_range_ = None if input_range is None else tuple(input_range)
    estimator.signal_ = signal_from_state(description["signal"])
    if description["feature_names"]:
        estimator.feature_names_in_ = np.array(description["feature_names"], dtype=object)
    fitted = description["fitted"]
    missing = [name for name in estimator._fitted_scalars if name not in fitted]
    if missing:
        raise KeyError(some(missing))
    for name, value in fitted.items():
        setattr(estimator, name, tuple(value) if name == "sample_shape_" else value)
    arrays = {name: t.numpy() for name, t in tensors.items() if not name.startswith(MODULE)}
    estimator._set_arrays(arrays)
    if arrays:
        raise KeyError(f"not known: {some(list(arrays))}")
    estimator.device_ = str(resolve_device(estimator.device))
    estimator._build_module()
    weights = {name.removeprefix(MODULE): t for name, t in tensors.items() if name.startswith(MODULE)}
    estimator.module_.load_state_dict(weights)
