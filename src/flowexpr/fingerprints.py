"""Telling calls apart by all that shapes their outcome, so that a run goes on only from what the same call made."""

import functools
import hashlib
import json
import pickle
import re
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

__all__ = ["describe_function", "describe_value", "digest_of_function", "fingerprint"]

HASHED_BYTES = 2**24
"""Bytes of an array that are read at a time for its fingerprint."""


def fingerprint(description: Any, *arrays: NDArray[Any] | None) -> str:
    """Return a hexadecimal digest of a description that JSON can hold and of arrays, read a piece at a time."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True, default=repr).encode())
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        array = np.atleast_1d(array)
        digest.update(f"{array.dtype} {array.shape}".encode())
        if array.dtype.hasobject:
            digest.update(repr(array.tolist()).encode())
            continue
        step = max(1, HASHED_BYTES // max(1, array[:1].nbytes))
        for start in range(0, len(array), step):
            digest.update(np.ascontiguousarray(array[start : start + step]).data)
    return digest.hexdigest()[:32]


def describe_value(value: Any) -> Any:
    """Return a parameter's value as it is where JSON holds it, else a digest, since a text may leave parts out."""
    return value if isinstance(value, str | int | float | bool | None) else joblib.hash(value)


def describe_function(function: Callable[..., Any], parameter: str) -> str:
    """Return a digest of what a function does (see `digest_of_function`).

    Parameters
    ----------
    function : callable
        What was passed.
    parameter : str
        As what, for the error.

    Returns
    -------
    digest : str
        The same in every process.

    Raises
    ------
    ValueError
        If it holds something that cannot be pickled, and so cannot be told from another.
    """
    try:
        return digest_of_function(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"checkpoint_dir needs to tell {parameter}={function!r} from another function, but it cannot be pickled "
            f"({error}). Pass a function, an object that can be pickled, or checkpoint_dir=None."
        ) from error


def digest_of_function(function: Callable[..., Any], *, lenient: bool = False) -> str:
    """Return a digest of what a function does; of an object, its state.

    A function is its code, nested code included, its defaults and closure, and the global names that it reads: their
    values, and what functions of the same package do in turn.

    Parameters
    ----------
    function : callable
        The function, or an object that can be called.
    lenient : bool, default=False
        Let what cannot be pickled count by what it prints, instead of failing.

    Returns
    -------
    digest : str
        The same in every process.

    Raises
    ------
    pickle.PicklingError, AttributeError, TypeError
        If it holds something that cannot be pickled, and so cannot be told from another.
    """
    return str(joblib.hash(_Description(lenient).of(function)))


class _Description:
    """What joblib hashes, and what changes with what a function, or a value that it reads, does."""

    def __init__(self, lenient: bool):
        self._lenient = lenient
        self._seen: set[int] = set()

    def of(self, value: Any) -> Any:
        if isinstance(value, ModuleType | type) or id(value) in self._seen:
            return getattr(value, "__qualname__", getattr(value, "__name__", ""))
        if isinstance(value, MethodType):
            return self.of(value.__func__), self.of(value.__self__)
        if isinstance(value, functools.partial):
            held = [*value.args, *sorted(value.keywords.items())]
            return self.of(value.func), [self.of(each) for each in held]
        if isinstance(value, CodeType):
            return value.co_code, value.co_names, [self.of(constant) for constant in value.co_consts]
        if isinstance(value, FunctionType):
            return self._of_function(value)
        if isinstance(value, tuple):
            return tuple(self.of(each) for each in value)
        if isinstance(value, set | frozenset):  # whose order changes from process to process
            return type(value).__name__, sorted(str(joblib.hash(self.of(each))) for each in value)
        return _known(value) if self._lenient else value

    def _of_function(self, function: FunctionType) -> Any:
        self._seen.add(id(function))
        names = sorted(_names_read(function.__code__) & function.__globals__.keys())
        of_globals = [(name, self._of_global(function.__globals__[name], function)) for name in names]
        defaults = (*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items()))
        cells = [self.of(cell.cell_contents) for cell in function.__closure__ or ()]
        own = (function.__module__, function.__qualname__, self.of(function.__code__))
        return own, [self.of(default) for default in defaults], cells, of_globals

    def _of_global(self, value: Any, reader: FunctionType) -> Any:
        """Describe a global that `reader` reads; what a function of another package does is a matter of its version."""
        if isinstance(value, FunctionType) and _package(value) != _package(reader):
            return value.__module__, value.__qualname__
        return self.of(value)


def _known(value: Any) -> Any:
    """Return a digest of a value, or, where it cannot be pickled, what it or its state prints."""
    try:
        return joblib.hash(value)
    except Exception:  # libraries refuse to be pickled with errors of many kinds
        printed = repr(vars(value) if hasattr(value, "__dict__") else value)
        return type(value).__qualname__, re.sub(" at 0x[0-9a-f]+", "", printed)  # places change with the run


def _package(function: FunctionType) -> str:
    return str(function.__module__).partition(".")[0]


def _names_read(code: CodeType) -> set[str]:
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*(_names_read(constant) for constant in nested))
