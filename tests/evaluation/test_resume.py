"""A killed evaluation goes on from the fits that are done, and takes up nothing else."""

import os
import signal
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from flowexpr.evaluation import evaluate


class Counting(DummyClassifier):
    """Counts its fits, and fails in one of them where it is told to."""

    fits: ClassVar[list] = []
    fails_at: ClassVar[int | None] = None

    def fit(self, X, y):
        if len(Counting.fits) == Counting.fails_at:
            raise RuntimeError("out of memory")
        Counting.fits.append(len(X))
        return super().fit(X, y)


@pytest.fixture
def counting():
    Counting.fits, Counting.fails_at = [], None
    return {"c": Counting()}


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    y = np.arange(40) % 2
    return random.normal(size=(40, 3)) + y[:, None], y


def test_the_same_call_fits_nothing_again(counting, data, tmp_path):
    first = evaluate(counting, *data, checkpoint_dir=tmp_path)
    again = evaluate(counting, *data, checkpoint_dir=tmp_path)
    assert len(Counting.fits) == 5
    assert again.to_json() == first.to_json()


def test_an_error_in_a_late_fold_loses_no_fold(counting, data, tmp_path):
    Counting.fails_at = 3
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        evaluate(counting, *data, checkpoint_dir=tmp_path)
    assert "estimators['c'] in fold 3 of 'random'. The fits done are kept" in caught.value.__notes__[0]
    Counting.fails_at = None
    evaluate(counting, *data, checkpoint_dir=tmp_path)
    assert len(Counting.fits) == 5


def test_more_folds_and_estimators_are_added_to_what_is_done(counting, data, tmp_path):
    evaluate(counting, *data, checkpoint_dir=tmp_path, max_folds=2)
    result = evaluate({**counting, "d": DummyClassifier()}, *data, checkpoint_dir=tmp_path)
    assert len(Counting.fits) == 5
    assert [row["folds"] for row in result.summary()] == [5, 5]


@pytest.mark.parametrize(
    "change",
    [
        lambda X, y: {"X": X + 1e-9},
        lambda X, y: {"y": 1 - y},
        lambda X, y: {"random_state": 1},
        lambda X, y: {"n_splits": 4},
        lambda X, y: {"estimators": {"c": Counting(strategy="uniform")}},
        lambda X, y: {"subject": np.arange(40) // 4, "protocols": ("random",)},
    ],
    ids=["data", "labels", "seed", "folds", "parameters", "groups"],
)
def test_whatever_shapes_a_fit_makes_it_another(counting, data, tmp_path, change):
    X, y = data
    evaluate(counting, X, y, checkpoint_dir=tmp_path)
    request = {"estimators": counting, "X": X, "y": y} | change(X, y)
    before = len(Counting.fits)
    evaluate(request.pop("estimators"), request.pop("X"), request.pop("y"), checkpoint_dir=tmp_path, **request)
    assert len(Counting.fits) - before == request.get("n_splits", 5)


def test_parameters_inside_a_pipeline_and_functions_count(data, tmp_path):
    def evaluated(c, shift):
        model = make_pipeline(FunctionTransformer(lambda X: X + shift), LogisticRegression(C=c))
        evaluate({"m": model}, *data, checkpoint_dir=tmp_path)
        return len(list(tmp_path.glob("*.json")))

    assert [evaluated(1, 0), evaluated(1, 0), evaluated(2, 0), evaluated(2, 1)] == [5, 5, 10, 15]


def test_how_much_is_printed_does_not_count(tmp_path, tiny, draw_images):
    X, y = draw_images(n=16, n_classes=2)
    for verbose in (0, 1):
        model = tiny(max_epochs=1, verbose=verbose)
        evaluate({"m": model}, X, y, n_splits=2, checkpoint_dir=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_estimators_are_kept_where_they_are_asked_for(counting, data, tmp_path):
    evaluate(counting, *data, checkpoint_dir=tmp_path)
    first = evaluate(counting, *data, checkpoint_dir=tmp_path, return_estimators=True)
    again = evaluate(counting, *data, checkpoint_dir=tmp_path, return_estimators=True)
    assert len(Counting.fits) == 10  # those of the first call were let go
    assert len(again.estimators["c", "random"]) == len(first.estimators["c", "random"]) == 5


@pytest.mark.parametrize("damaged", ['{"score": ', '{"a": 1}', "[]", '{"score": {}, "proba": []}'])
def test_a_damaged_file_is_fitted_again(counting, data, tmp_path, damaged):
    evaluate(counting, *data, checkpoint_dir=tmp_path)
    next(iter(tmp_path.glob("*.json"))).write_text(damaged)
    evaluate(counting, *data, checkpoint_dir=tmp_path)
    assert len(Counting.fits) == 6


KILLED = """
import os, signal, sys
import numpy as np
from sklearn.dummy import DummyClassifier
from flowexpr.evaluation import evaluate

class Killing(DummyClassifier):
    fits = 0
    def fit(self, X, y):
        Killing.fits += 1
        if Killing.fits == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y)

y = np.arange(40) % 2
evaluate({"k": Killing()}, y[:, None], y, checkpoint_dir=sys.argv[1])
print(Killing.fits)
"""


@pytest.mark.slow
def test_a_killed_process_loses_the_fit_it_was_in_and_no_other(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run([*command, "4"], env=os.environ.copy(), check=False)
    assert killed.returncode == -signal.SIGKILL
    again = subprocess.run([*command, "0"], env=os.environ.copy(), capture_output=True, text=True, check=True)
    assert again.stdout.strip() == "2"
