"""A killed fit, called again, ends as the uninterrupted one would have, bit for bit."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from flowexpr import fitting, persistence
from flowexpr.files import MACHINE
from flowexpr.training import checkpoint
from flowexpr.training.checkpoint import Checkpoint
from flowexpr.training.loop import Trainer

DRIVER = """
import json, os, signal, sys
import numpy as np
import torch._dynamo  # what the first fit of a process imports
from flowexpr import FlowExpressionClassifier
from flowexpr.files import MACHINE
from flowexpr.training import checkpoint
from flowexpr.training.loop import Trainer

checkpoint.SHORTEST_INTERVAL, checkpoint.LARGEST_SHARE = 0.0, 1e9  # a checkpoint after every step

def kill_at(owner, name, n_th):
    function, calls = getattr(owner, name), [0]
    def counting(*args, **kwargs):
        calls[0] += 1
        if calls[0] == n_th:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    setattr(owner, name, counting)

with open(sys.argv[1]) as file:
    jobs = json.load(file)
for job in jobs:
    child = os.fork()  # one import of torch for all
    if not child:
        kill_at(*{"step": (Trainer, "_train_step"), "write": (os, "replace")}[job["where"]], job["n_th"])
        data = np.load(job["data"])
        FlowExpressionClassifier(**job["settings"]).fit(data["X"], data["y"])
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1)
"""

SETTINGS = {
    "augment": True,
    "weight_averaging": 0.9,
    "weight_decay": 1e-3,
    "schedule": "one-cycle",
    "learning_rate": 0.01,
    "batch_size": 8,
    "max_epochs": 4,
}
"""4 epochs of 3 steps on 24 images, of 8 steps on 60 vectors."""

VALIDATION = {"validation_fraction": 0.3, "patience": 1, "calibrate": "temperature"}
PATIENCE = {
    "validation_fraction": 0.3,
    "patience": 3,
    "max_epochs": 300,
    "schedule": "constant",
    "learning_rate": 0.02,
    "hidden_channels": 32,
    "weight_averaging": 0.0,
}
FLOAT64 = {"weight_averaging": 0.0, "head": "gmm", "memory": "reversible", "precision": "float64"}

KILLS = {
    # Before the first checkpoint, inside an epoch, at its end, in the last epoch.
    "step 1": ("images", {}, "step", [1]),
    "step 3": ("images", {}, "step", [3]),
    "step 4": ("images", {}, "step", [4]),
    "step 12": ("images", {}, "step", [12]),
    # With a file written but not yet renamed: the seed, a state in between, the last state, the result.
    "seed": ("images", {}, "write", [1]),
    "state 5": ("images", {}, "write", [6]),
    "state 12": ("images", {}, "write", [13]),
    "result": ("images", {}, "write", [14]),
    "validation": ("images", VALIDATION, "step", [4]),
    "float64": ("images", FLOAT64, "step", [5]),
    "patience": ("no labels to learn", PATIENCE, "step", []),  # at a step between the best epoch and the last
    "twice": ("vectors", {}, "step", [5, 7]),  # the second process goes on from the first one's 4 steps
    "no random_state": ("vectors", {"random_state": None}, "step", [5]),
    "other call": ("vectors", {}, "step", [5]),
}
"""Data, changed settings, and where processes kill themselves: before their n-th step, or n-th renaming of a file."""

pytestmark = pytest.mark.filterwarnings("ignore:calibrate=.* came without groups")
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


@pytest.fixture(scope="module")
def data(draw_images, two_features):
    """Return what `KILLS` names."""
    X, y = two_features
    shuffled = np.random.default_rng(3).permutation(y)
    return {"images": draw_images(), "vectors": (X, y), "no labels to learn": (X, shuffled)}


@pytest.fixture(scope="module")
def overfitted(data, tiny):
    """Return an uninterrupted fit that patience ends, and a step two epochs after its best."""
    clf = tiny(**SETTINGS | PATIENCE).fit(*data["no labels to learn"])
    assert len(clf.history_) < PATIENCE["max_epochs"]
    best = len(clf.history_) - PATIENCE["patience"]
    return clf, clf.history_[best]["steps"] + 2


@pytest.fixture(scope="module")
def killed(tmp_path_factory, data, tiny, overfitted):
    """Fit in processes that kill themselves; return the checkpoint folder of each of `KILLS`."""
    folder = tmp_path_factory.mktemp("killed")
    for name, (X, y) in data.items():
        np.savez(folder / f"{name}.npz", X=X, y=y)
    jobs, folders = [], {}
    for name, (kind, changes, where, n_ths) in KILLS.items():
        folders[name] = folder / name
        settings = tiny(**SETTINGS | changes, checkpoint_dir=str(folders[name])).get_params()
        for n_th in n_ths or [overfitted[1]]:
            jobs.append({"data": str(folder / f"{kind}.npz"), "settings": settings, "where": where, "n_th": n_th})
    (folder / "driver.py").write_text(DRIVER)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, str(folder / "driver.py"), str(folder / "jobs.json")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        timeout=300,
        check=False,
    )
    assert done.stdout.split() == ["9"] * len(jobs), done.stdout + done.stderr
    return folders


@pytest.fixture
def at_every_step(monkeypatch):
    """Write a checkpoint after every step."""
    monkeypatch.setattr(checkpoint, "SHORTEST_INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", 1e9)


@pytest.fixture
def steps(monkeypatch):
    """List the training steps that are taken."""
    taken = []
    train_step = Trainer._train_step

    def counting(self, *args):
        taken.append(self.step)
        return train_step(self, *args)

    monkeypatch.setattr(Trainer, "_train_step", counting)
    return taken


@pytest.fixture
def same_fit(same_weights, without_seconds):
    """Return a function that asserts that two fits are the same, bit for bit."""

    def check(a, b, X):
        assert same_weights(a, b)
        assert without_seconds(a.history_) == without_seconds(b.history_)
        assert [list(row) for row in a.history_] == [list(row) for row in b.history_]
        assert a.n_steps_ == b.n_steps_
        assert a.seed_ == b.seed_
        assert a.temperature_ == b.temperature_
        assert np.array_equal(a.predict_proba(X), b.predict_proba(X))
        assert all(np.array_equal(*pair) for pair in zip(a.class_latents_, b.class_latents_, strict=True))

    return check


@posix
@pytest.mark.parametrize(
    ("name", "done"),
    [
        ("step 1", 0),
        ("step 3", 2),
        ("step 4", 3),
        ("step 12", 11),
        ("seed", 0),
        ("state 5", 4),
        ("state 12", 11),
        ("result", 12),
        ("validation", 3),
        ("float64", 4),
        ("twice", 4 + 6),
    ],
)
def test_killed_fit_resumes_bit_for_bit(name, done, killed, data, tiny, same_fit, steps):
    kind, changes, _, _ = KILLS[name]
    X, y = data[kind]
    resumed = tiny(**SETTINGS | changes, checkpoint_dir=str(killed[name])).fit(X, y)
    assert steps == list(range(done, resumed.n_steps_))
    same_fit(resumed, tiny(**SETTINGS | changes).fit(X, y), X)
    assert not list(killed[name].rglob("*.partial"))
    assert not list(killed[name].rglob(".*.partial"))


@posix
def test_patience_is_counted_from_before_the_kill(killed, data, overfitted, tiny, same_fit, steps):
    uninterrupted, n_th = overfitted
    X, y = data["no labels to learn"]
    resumed = tiny(**SETTINGS | PATIENCE, checkpoint_dir=str(killed["patience"])).fit(X, y)
    assert steps == list(range(n_th - 1, uninterrupted.n_steps_))
    assert len(steps) > 1
    same_fit(resumed, uninterrupted, X)


@posix
def test_drawn_seed_is_kept_without_a_random_state(killed, data, tiny, same_fit, steps):
    X, y = data["vectors"]
    folder = killed["no random_state"]
    (seed_file,) = folder.rglob("seed.json")
    seed = json.loads(seed_file.read_text())["seed"]
    resumed = tiny(**SETTINGS | {"random_state": None}, checkpoint_dir=str(folder)).fit(X, y)
    assert steps[0] == 4
    assert resumed.seed_ == seed

    class Drawing(np.random.RandomState):
        def randint(self, *args, **kwargs):
            return seed

    same_fit(resumed, tiny(**SETTINGS | {"random_state": Drawing()}).fit(X, y), X)


@posix
def test_another_call_does_not_read_a_killed_ones_state(killed, data, tiny, same_fit, steps):
    X, y = data["vectors"]
    other = tiny(**SETTINGS, checkpoint_dir=str(killed["other call"])).fit(X[10:], y[10:])
    assert steps[0] == 0
    same_fit(other, tiny(**SETTINGS).fit(X[10:], y[10:]), X)


def test_finished_call_returns_the_stored_model_without_training(tmp_path, two_features, tiny, same_fit, steps):
    X, y = two_features
    first = tiny(checkpoint_dir=tmp_path).fit(X, y)
    steps.clear()
    again = tiny(checkpoint_dir=tmp_path).fit(X, y)
    assert steps == []
    same_fit(again, first, X)
    assert np.array_equal(again.predict(X), first.predict(X))


def test_stored_model_is_as_without_checkpoints(tmp_path, two_features, tiny, same_fit, at_every_step):
    X, y = two_features
    tiny(checkpoint_dir=tmp_path).fit(X, y)
    same_fit(tiny(checkpoint_dir=tmp_path).fit(X, y), tiny().fit(X, y), X)


def test_finished_call_leaves_only_its_result(tmp_path, two_features, tiny, at_every_step):
    tiny(checkpoint_dir=tmp_path).fit(*two_features)
    (run,) = tmp_path.iterdir()
    assert sorted(file.name for file in run.iterdir()) == ["result.safetensors", "seed.json"]


def other_calls():
    """Return changes of a call, each of which must make it another run."""
    rows = np.arange(60)
    return {
        "next fold": lambda X, y: ((X[10:], y[10:]), {}, {}),
        "one value of X": lambda X, y: ((np.where(np.arange(120).reshape(60, 2) == 7, X + 1e-9, X), y), {}, {}),
        "type of X": lambda X, y: ((X.astype(np.float32), y), {}, {}),
        "one label": lambda X, y: ((X, np.where(rows == 3, 1, y)), {}, {}),
        "kind of labels": lambda X, y: ((X, y.astype(str)), {}, {}),
        "groups": lambda X, y: ((X, y), {"groups": rows}, {}),
        "parameter": lambda X, y: ((X, y), {}, {"learning_rate": 2e-3}),
        "random_state": lambda X, y: ((X, y), {}, {"random_state": 1}),
        "order of rows": lambda X, y: ((X[::-1], y[::-1]), {}, {}),
    }


@pytest.mark.parametrize("name", other_calls())
def test_another_call_with_the_same_folder_does_not_read_it(name, tmp_path, two_features, tiny, same_fit, steps):
    tiny(checkpoint_dir=tmp_path).fit(*two_features)
    steps.clear()
    data, fit_params, changes = other_calls()[name](*two_features)
    other = tiny(checkpoint_dir=tmp_path, **changes).fit(*data, **fit_params)
    assert steps[0] == 0
    assert len(list(tmp_path.iterdir())) == 2
    same_fit(other, tiny(**changes).fit(*data, **fit_params), data[0])


def test_other_versions_make_another_run(tmp_path, two_features, tiny, steps, monkeypatch):
    tiny(checkpoint_dir=tmp_path).fit(*two_features)
    steps.clear()
    versions = persistence.library_versions() | {"torch": "99"}
    monkeypatch.setattr(persistence, "library_versions", lambda: versions)
    tiny(checkpoint_dir=tmp_path).fit(*two_features)
    assert steps[0] == 0


def test_verbose_and_the_folders_own_name_do_not_make_another_run(tmp_path, two_features, tiny, steps):
    tiny(checkpoint_dir=tmp_path / "a").fit(*two_features)
    (tmp_path / "a").rename(tmp_path / "b")
    steps.clear()
    tiny(checkpoint_dir=str(tmp_path / "b"), verbose=1).fit(*two_features)
    assert steps == []


def interrupt_at(monkeypatch, n_th):
    """Raise KeyboardInterrupt before the n-th step, as Ctrl-C does, leaving the state of training behind."""
    train_step = Trainer._train_step

    def stopping(self, *args):
        if self.step == n_th:
            raise KeyboardInterrupt
        return train_step(self, *args)

    monkeypatch.setattr(Trainer, "_train_step", stopping)


def test_interrupted_fit_resumes_too(tmp_path, two_features, tiny, same_fit, at_every_step, monkeypatch):
    X, y = two_features
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            tiny(checkpoint_dir=tmp_path).fit(X, y)
    resumed = tiny(checkpoint_dir=tmp_path).fit(X, y)
    same_fit(resumed, tiny().fit(X, y), X)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-9] + b"\x7f" + b[-8:], lambda b: b""])
def test_damaged_checkpoint_is_reported_and_left_aside(
    damage, tmp_path, two_features, tiny, same_fit, at_every_step, monkeypatch, steps
):
    X, y = two_features
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            tiny(checkpoint_dir=tmp_path).fit(X, y)
    (state,) = tmp_path.rglob("state.safetensors")
    state.write_bytes(damage(state.read_bytes()))
    steps.clear()
    with pytest.warns(UserWarning, match="training starts again, since its checkpoint cannot be read"):
        restarted = tiny(checkpoint_dir=tmp_path).fit(X, y)
    assert steps[0] == 0
    same_fit(restarted, tiny().fit(X, y), X)


def test_damaged_result_is_reported_and_trained_again(tmp_path, two_features, tiny, same_fit, steps):
    X, y = two_features
    first = tiny(checkpoint_dir=tmp_path).fit(X, y)
    (result,) = tmp_path.rglob("result.safetensors")
    result.write_bytes(result.read_bytes()[:-100])
    steps.clear()
    with pytest.warns(UserWarning, match="training starts again, since its result cannot be read"):
        again = tiny(checkpoint_dir=tmp_path).fit(X, y)
    assert steps[0] == 0
    same_fit(again, first, X)


def test_half_written_files_are_never_read(tmp_path, two_features, tiny, same_fit, at_every_step):
    X, y = two_features
    tiny(checkpoint_dir=tmp_path).fit(X, y)
    (run,) = tmp_path.iterdir()
    whole = (run / "result.safetensors").read_bytes()
    (run / "result.safetensors").unlink()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    here = f"{MACHINE}.{int(dead.stdout)}.1.partial"
    for name in (f".state.safetensors.{here}", ".result.safetensors.elsewhere.1.1.partial", f".seed.json.{here}"):
        (run / name).write_bytes(whole[: len(whole) // 2])
    os.utime(run / ".result.safetensors.elsewhere.1.1.partial", (0, 0))
    same_fit(tiny(checkpoint_dir=tmp_path).fit(X, y), tiny().fit(X, y), X)
    assert not list(run.glob("*.partial"))
    assert not list(run.glob(".*.partial"))


def test_files_that_others_are_writing_are_left_alone(tmp_path, two_features, tiny):
    X, y = two_features
    tiny(checkpoint_dir=tmp_path).fit(X, y)
    (run,) = tmp_path.iterdir()
    living = [f".seed.json.{MACHINE}.{os.getppid()}.1.partial", ".seed.json.elsewhere.1.1.partial"]
    for name in living:
        (run / name).touch()
    tiny(checkpoint_dir=tmp_path).fit(X, y)
    assert sorted(path.name for path in run.glob(".*.partial")) == sorted(living)


def test_the_same_call_in_several_threads_is_one_model(tmp_path, two_features, tiny, at_every_step):
    X, y = two_features
    pipeline = Pipeline([("flow", tiny(checkpoint_dir=tmp_path)), ("tree", DecisionTreeClassifier(random_state=0))])
    search = GridSearchCV(pipeline, {"tree__max_depth": [1, 2, 3, 4]}, cv=2, error_score="raise")
    with parallel_config("threading", n_jobs=4):
        search.fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_warm_start_goes_on_with_checkpoints(tmp_path, two_features, tiny, same_fit):
    X, y = two_features
    warm = tiny(warm_start=True, checkpoint_dir=tmp_path).fit(X, y).fit(X, y)
    plain = tiny(warm_start=True).fit(X, y).fit(X, y)
    same_fit(warm, plain, X)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("as_given", [np.asarray, lambda prior: pytest.importorskip("pandas").Series(prior)])
def test_long_or_rounded_priors_are_told_apart(as_given, tmp_path, tiny):
    y = np.arange(240) % 120
    X = np.random.default_rng(0).normal(size=(240, 3))
    one = np.full(120, 1 / 120)
    other = one.copy()
    other[60] += 1e-4
    other[61] -= 1e-4
    with np.printoptions(precision=2):
        for prior in (one, other):
            clf = tiny(checkpoint_dir=tmp_path, max_steps=1, class_prior=as_given(prior)).fit(X, y)
            np.testing.assert_allclose(np.exp(clf.log_prior_), prior, rtol=1e-6)


def test_checkpoints_are_written_after_an_interval_only(tmp_path, two_features, tiny, monkeypatch):
    written = []
    monkeypatch.setattr(Checkpoint, "write", lambda self, *args: written.append(args))
    monkeypatch.setattr(checkpoint, "SHORTEST_INTERVAL", 3600.0)
    tiny(checkpoint_dir=tmp_path).fit(*two_features)
    assert written == []


def brighter(by):
    """Return an augmentation; every one has the same name."""
    return lambda images, generator: images + by


def test_damaged_seed_is_reported_and_drawn_again(tmp_path):
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "seed.json").write_text("{")
    with pytest.warns(UserWarning, match="training starts with a new seed"):
        assert Checkpoint(tmp_path, "key").seed(5) == 5
    assert Checkpoint(tmp_path, "key").seed(6) == 5


def test_augment_that_cannot_be_told_from_others_is_an_error(tmp_path, colour_images, tiny):
    class Local:
        def __call__(self, images, generator):
            return images

    expected = r"checkpoint_dir needs to tell augment=.*Local.* from another.*Pass a function"
    with pytest.raises(ValueError, match=expected):
        tiny(augment=Local(), checkpoint_dir=tmp_path).fit(*colour_images)


def test_fit_with_another_augment_does_not_read_the_firsts_result(tmp_path, colour_images, tiny, steps):
    tiny(augment=brighter(1), checkpoint_dir=tmp_path).fit(*colour_images)
    steps.clear()
    tiny(augment=brighter(90), checkpoint_dir=tmp_path).fit(*colour_images)
    assert steps[0] == 0
    steps.clear()
    tiny(augment=brighter(1), checkpoint_dir=tmp_path).fit(*colour_images)
    assert steps == []


def test_what_auto_chooses_by_the_machine_makes_another_run(tmp_path, colour_images, tiny, monkeypatch):
    for precision in ("float32", "mixed"):
        monkeypatch.setattr(fitting, "resolve_precision", lambda *_, found=precision, **__: found)
        assert tiny(precision="auto", max_steps=1, checkpoint_dir=tmp_path).fit(*colour_images).precision_ == precision
    assert len(list(tmp_path.iterdir())) == 2
