"""What tells one call from another: arrays, parameters, and what functions do."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest

from flowexpr import fingerprints
from flowexpr.fingerprints import describe_function, fingerprint


def test_fingerprint_reads_an_array_a_piece_at_a_time(monkeypatch):
    X = np.arange(1000.0).reshape(100, 10)
    whole = fingerprint({"a": 1}, X, None)
    monkeypatch.setattr(fingerprints, "HASHED_BYTES", 800)
    assert fingerprint({"a": 1}, X, None) == whole


@pytest.mark.parametrize(
    "other",
    [
        ({"a": 2}, np.arange(4.0), None),
        ({"a": 1}, np.arange(4), None),
        ({"a": 1}, np.arange(4.0).reshape(2, 2), None),
        ({"a": 1}, np.array([0.0, 1.0, 2.0, 4.0]), None),
        ({"a": 1}, np.arange(4.0), np.arange(4.0)),
        ({"a": 1}, None, np.arange(4.0)),
    ],
)
def test_fingerprint_tells_calls_apart(other):
    assert fingerprint(*other) != fingerprint({"a": 1}, np.arange(4.0), None)


def brighter(by):
    """Return an augmentation; every one has the same name."""
    return lambda images, generator: images + by


class Brighter:
    def __init__(self, by):
        self.by = by

    def __call__(self, images, generator):
        return images + self.by


def add(by, images, generator):
    return images + by


@pytest.mark.parametrize(
    "make", [brighter, Brighter, lambda by: functools.partial(add, by), lambda by: Brighter(by).__call__]
)
def test_callable_augments_are_told_apart_by_what_they_do(make):
    assert describe_function(make(1), "augment") == describe_function(make(1), "augment")
    assert describe_function(make(1), "augment") != describe_function(make(2), "augment")


def test_changed_code_of_an_augment_is_another_call():
    one, two = (eval(f"lambda images, generator: images + {by}") for by in (1, 2))
    assert describe_function(one, "augment") != describe_function(two, "augment")


def variants(source, *changes):
    """Return functions of the same name, each from its own source and globals."""
    made = []
    for change in changes:
        names = {"__name__": "mine", "np": np}
        exec(source.replace("VALUE", change), names)
        made.append(names["augment"])
    return made


@pytest.mark.parametrize(
    "source",
    [
        "def augment(i, g, *, k=VALUE): return i * k",
        "def augment(i, g):\n    f = lambda v: v * VALUE\n    return f(i)",
        "def augment(i, g): return np.stack([x * VALUE for x in i])",
        "K = VALUE\ndef augment(i, g): return i * K",
        "def scale(i): return i * VALUE\ndef augment(i, g): return scale(i)",
        "def augment(i, g):\n    def inner(v, depth):\n        return v * VALUE\n    return inner(i, augment)",
    ],
    ids=["keyword default", "lambda", "comprehension", "constant", "helper", "inner, recursive"],
)
def test_functions_are_told_apart_by_all_that_they_read(source):
    one, same, other = variants(source, "1.0", "1.0", "0.2")
    assert describe_function(one, "augment") == describe_function(same, "augment")
    assert describe_function(one, "augment") != describe_function(other, "augment")


SETS = """
LEFT = frozenset(["eye", "brow", "cheek", "lip"])

def changed(images, random):
    known = random in {"a", "b", "c", "d"} or (1, random) in {(1, "e"), (1, "f")}
    return images if known or random in LEFT else -images
"""


def test_functions_with_sets_have_the_same_digest_in_every_process(tmp_path):
    (tmp_path / "own.py").write_text(SETS)
    program = "import own; from flowexpr.fingerprints import digest_of_function; print(digest_of_function(own.changed))"
    digests = set()
    for seed in ("1", "2", "3"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    (tmp_path / "own.py").write_text(SETS.replace('"lip"', '"nose"'))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout not in digests


def test_what_cannot_be_told_apart_is_named():
    class Local:
        def __call__(self, X):
            return X

    with pytest.raises(ValueError, match=r"checkpoint_dir needs to tell func=.*Local.* from another"):
        describe_function(Local(), "func")
