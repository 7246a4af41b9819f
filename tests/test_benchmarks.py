"""Benchmarks: what runs, how folders are read, and what the tables say; none of them is timed here."""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin

from flowexpr import FlowExpressionClassifier
from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.datasets import make_faces
from flowexpr.evaluation import EvaluationResult, Predictions

FOLDER = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks are in the repository alone")


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Return the function that imports a benchmark, whose pages go into the test's folder."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(importlib.import_module("reporting"), "FOLDER", tmp_path / "pages")
    return importlib.import_module


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
    module.main()


def draw(folder, *names, size=(16, 16)):
    """Write a grey image of noise for every name."""
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, size, dtype=np.uint8)).save(path)
    return folder


CK = [f"{name}/S00{i % 2}_00{i}_00000001.png" for i, name in enumerate(("anger", "disgust", "fear", "happy"))]
CK += ["sadness/S000_004_00000001.png", "surprise/S001_005_00000001.png"]
JAFFE = [f"K{'AB'[i % 2]}.{code}1.{i}.tiff" for i, code in enumerate(("AN", "DI", "FE", "HA", "SA", "SU"))]
KDEF = ["AF01ANS.JPG", "AM02HAS.JPG"]
PLAIN = ["happy/1.png", "sad/2.png"]


def with_manifest(folder, *, prepared=False):
    draw(folder, *PLAIN)
    (folder / "manifest.csv").write_text("path,label,subject\nhappy/1.png,joy,A\nsad/2.png,fear,B\n")
    if prepared:
        (folder / "prepare.json").write_text('{"detector": "none", "margin": 0.1}')
    return folder


@pytest.mark.parametrize("suffix", ["", ":ck+48"])
def test_ck_is_read_by_its_names_with_or_without_its_layout(suffix, script, tmp_path):
    draw(tmp_path / "CK+48", *CK, "contempt/S000_006_00000001.png")
    name, faces = script("setting").read(f"{tmp_path / 'CK+48'}{suffix}")
    assert name == "CK+48"
    assert faces.target_names.tolist() == ["anger", "disgust", "fear", "happy", "sadness", "surprise"]
    assert set(faces.subject) == {"S000", "S001"}
    assert faces.images.shape == (6, 16, 16, 1)


@pytest.mark.parametrize("suffix", ["", ":jaffe"])
def test_jaffe_is_cropped_and_neutral_only_where_asked_for(suffix, script, tmp_path):
    draw(tmp_path, *JAFFE, "KA.NE1.7.tiff", "KB.NE1.8.tiff", size=(128, 128))
    setting = script("setting")
    _, faces = setting.read(f"{tmp_path}{suffix}")
    assert faces.images.shape == (6, 64, 64, 1)
    assert tuple(faces.preparation["crop"]) == setting.LAYOUTS["jaffe"]["crop"]
    _, with_neutral = setting.read(f"{tmp_path}{suffix}", neutral=True)
    assert np.sum(setting.labels(with_neutral) == "neutral") == 2


@pytest.mark.parametrize("suffix", ["", ":kdef"])
def test_other_layouts_are_read_too(suffix, script, tmp_path):
    draw(tmp_path, *KDEF, size=(80, 72))
    _, faces = script("setting").read(f"{tmp_path}{suffix}")
    assert faces.images.shape == (2, 64, 64, 1)
    assert sorted(faces.subject) == ["F01", "M02"]


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("suffix", ["", ":manifest"])
def test_manifest_comes_before_names(suffix, prepared, script, tmp_path):
    folder = with_manifest(draw(tmp_path, *CK), prepared=prepared)
    _, faces = script("setting").read(f"{folder}{suffix}")
    assert faces.target_names.tolist() == ["fear", "joy"]
    assert sorted(faces.subject) == ["A", "B"]


def test_unknown_subjects_are_an_error_only_where_they_are_needed(script, tmp_path):
    setting, folder = script("setting"), str(draw(tmp_path / "mine", *PLAIN))
    with pytest.raises(SystemExit, match=r"mine: folds by subject need the subject of every image, .* a manifest"):
        setting.read(folder)
    name, faces = setting.read(folder, need_subjects=False)
    assert (name, faces.target_names.tolist(), faces.subject) == ("mine", ["happy", "sad"], None)


def test_layout_that_is_given_is_not_guessed(script, tmp_path):
    folder = draw(tmp_path, *CK)
    _, faces = script("setting").read(f"{folder}:folder", need_subjects=False)
    assert faces.subject is None


def test_colon_of_a_folder_is_no_layout(script, tmp_path):
    draw(tmp_path / "day:1", *CK)
    assert script("setting").read(str(tmp_path / "day:1"))[0] == "day:1"


def test_what_cannot_be_read_is_told_without_a_traceback(script, tmp_path):
    with pytest.raises(SystemExit, match=r"nothing:jaffe: expected a folder of images"):
        script("setting").read(f"{tmp_path / 'nothing'}:jaffe")


def test_data_sets_of_one_name_stand_beside_each_other(script, tmp_path):
    folders = [str(with_manifest(tmp_path / part / "faces")) for part in "ab"]
    sets = script("setting").read_or_draw(argparse.Namespace(data=folders))
    assert list(sets) == ["faces", "faces (2)"]


@pytest.fixture
def commands(script, tmp_path):
    """Return the function that lists what would run: arguments by the name of the script, in their order."""
    script("setting")
    spec = importlib.util.spec_from_file_location("all_benchmarks", FOLDER / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def listed(*data, jaffe=None, rosinality=None):
        options = argparse.Namespace(data=list(data), jaffe=jaffe, rosinality=rosinality, keep=Path("kept"))
        runs = {}
        for name, arguments in module.commands(options):
            runs.setdefault(name, []).append(arguments)
        return runs

    return listed


def test_every_script_runs_where_all_data_is_given():
    scripts = {path.stem for path in FOLDER.glob("*.py") if "__name__ ==" in path.read_text(encoding="utf-8")}
    given = ["--data", "A:ck+48", "--jaffe", "B", "--rosinality", "C"]
    listed = subprocess.run([sys.executable, FOLDER, "--list", *given], capture_output=True, text=True, check=True)
    assert {Path(line.split()[2]).stem for line in listed.stdout.splitlines()} == scripts - {"__main__"}


def test_data_are_passed_on_and_not_needed(commands):
    with_data, without = commands("A:ck+48"), commands()
    assert with_data.keys() - without.keys() == {"accuracy"}
    assert with_data["exactness"] == [["A:ck+48"]]
    assert with_data["vectors"] == [[]]


def test_morphs_get_ck_also_where_its_layout_is_guessed(commands, tmp_path):
    folder = str(draw(tmp_path, *CK))
    assert commands("B:jaffe", folder)["morph"] == [["--models", "kept/models", "--ck", folder]]
    assert commands("B:jaffe")["morph"] == [["--models", "kept/models"]]


def test_jaffe_among_the_data_serves_where_photographs_are_needed(commands):
    runs = commands("A:ck+48", "B:jaffe")
    assert (runs["neutral"], runs["faces"]) == ([["B:jaffe"]], [["B"]])
    assert commands("B:jaffe", jaffe=Path("C"))["faces"] == [["C"]]


def test_every_data_set_has_a_page_of_latents(commands):
    runs = commands("A:ck+48", "B:jaffe", "C/My faces", "D/my faces", "E:ck+48")["latent_space"]
    assert [arguments[:-2] for arguments in runs] == [
        [],
        ["A:ck+48", "--page", "latent_space_ck"],
        ["B:jaffe", "--page", "latent_space_jaffe"],
        ["C/My faces", "--page", "latent_space_my_faces"],
        ["D/my faces", "--page", "latent_space_my_faces_4"],
        ["E:ck+48", "--page", "latent_space_ck_5"],
    ]


def test_speed_is_measured_twice_and_only_beside_rosinality(commands):
    assert "speed" not in commands("A:ck+48")
    first, second = commands(rosinality=Path("/R"))["speed"]
    assert second == [*first, "--keep-freed-memory"]


ACCURACY = ("--estimators", "PCA + LDA", "PCA + SVM", "--seeds", "1", "--max-folds", "1")


@pytest.fixture
def accuracy(script, monkeypatch):
    """Return the benchmark of accuracy, without its processes that measure memory."""
    module = script("accuracy")
    monkeypatch.setattr(module, "peak_gib", lambda *_, **__: 0.25)
    return module


def make_folder(folder, *, subjects):
    """Write 12 images of each of two classes, of four subjects."""
    names = [f"{label}/{i % 4}_{i}.png" for label in ("happy", "sad") for i in range(12)]
    draw(folder, *names)
    if subjects:
        rows = [f"{name},{name.split('/')[0]},P{Path(name).name[0]}" for name in names]
        (folder / "manifest.csv").write_text("\n".join(["path,label,subject", *rows]))
    return folder


def test_one_subject_tested_has_no_interval(accuracy, tmp_path, monkeypatch):
    run(accuracy, monkeypatch, make_folder(tmp_path / "mine", subjects=True), "--protocols", "loso", *ACCURACY)
    page = (tmp_path / "pages" / "accuracy.md").read_text()
    assert "**mine, loso** (24 images, 1 seed, the first 1 folds)" in page
    row = next(line for line in page.splitlines() if line.startswith("| PCA + LDA"))
    assert row.split(" | ")[2] == "-"
    assert row.endswith("| 0.2 |")
    assert "| PCA + SVM | +" in page or "| PCA + SVM | -" in page
    assert (tmp_path / "pages" / "accuracy.svg").stat().st_size > 0


def test_page_is_written_after_every_protocol(accuracy, tmp_path, monkeypatch):
    pages = []
    monkeypatch.setattr(accuracy.reporting, "write", lambda name, text: pages.append(text))
    folder = make_folder(tmp_path / "mine", subjects=True)
    run(accuracy, monkeypatch, folder, "--protocols", "random,clip,loso", *ACCURACY)
    assert ["loso" in page for page in pages] == [False, True]
    assert all("**mine, random**" in page for page in pages)
    assert "clip" not in pages[-1]


def test_without_subjects_accuracy_is_over_images(accuracy, tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "mine", subjects=False)
    run(accuracy, monkeypatch, folder, *ACCURACY)
    page = (tmp_path / "pages" / "accuracy.md").read_text()
    assert "**mine, random** (24 images, 1 seed, the first 1 folds, who is seen is not known" in page
    assert "loso" not in page
    with pytest.raises(SystemExit, match=r"mine: --protocols subject needs to know who is seen, .* neither is known"):
        run(accuracy, monkeypatch, folder, "--protocols", "subject", *ACCURACY)


def test_steps_are_those_of_flow_and_cnn(accuracy):
    steps = {name: getattr(each, "max_steps", None) for name, each in accuracy.estimators(0, 7).items()}
    assert [name for name, n in steps.items() if n == 7] == ["flow", "flow, FlowGMM head", "CNN"]
    assert repr(accuracy.estimators(0)["CNN"]) == repr(CNNExpressionClassifier(random_state=0))


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_tested(accuracy):
    y_true, y_pred = np.array(["a", "a", "a", "b"]), np.array(["a", "a", "b", "b"])
    pooled = Predictions(np.arange(4), np.array([0, 1, 1, 1]), y_true, y_pred, np.full((4, 3), 1 / 3))
    result = EvaluationResult(np.array(["a", "b", "c"]), [], {("m", "random"): pooled}, {})
    recalls = accuracy.recall_of_classes(result, "m", "random")
    row = {"name": "m", "by_subject": accuracy.accuracies(result, "m", "random"), "recalls": recalls}
    text = accuracy.data_table([row | {"log_loss": 1.0, "ece": 0.1, "seconds": 2.0}], {"m": 0.5})
    assert "| m | 75.0 | - | 83.3 | 1.000 | 0.100 | 2.0 | 0.5 |" in text
    assert "| m | 67 | 100 | - |" in text


class Hungry(ClassifierMixin, BaseEstimator):
    """A classifier that holds so many MiB while it is fitted."""

    def __init__(self, mib=0):
        self.mib = mib

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        np.ones(self.mib * 2**17).sum()
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


@pytest.mark.slow
def test_memory_is_that_of_a_fit_and_kept_like_one(script, tmp_path):
    resident = script("resident")
    ballast = np.ones(2**27)  # 1 GiB of this process, no part of the fit's
    X, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    arguments = {"subject": np.arange(20) // 2, "n_splits": 2, "resume": tmp_path}
    little, much = (resident.peak_gib(Hungry(mib), X, y, **arguments) for mib in (0, 512))
    assert little < ballast.nbytes / 2**30
    assert 0.45 < much - little < 0.6
    folds = {"subject": arguments["subject"], "n_splits": 2, "checkpoint_dir": tmp_path}
    assert resident._measure(Hungry(512), X, y, **folds) == much  # here it would hold the ballast


def test_bits_per_dim_of_training_are_of_the_folds_own_training_rows(script, monkeypatch):
    tradeoff = script("tradeoff")
    pooled = SimpleNamespace(index=np.array([0, 1, 2, 3]), fold=np.array([0, 0, 1, 1]))
    flow = SimpleNamespace(bits_per_dim=lambda X: X.mean(axis=(1, 2, 3)))
    result = SimpleNamespace(
        predictions={("1", "subject"): pooled},
        estimators={("1", "subject"): [flow, flow]},
        summary=lambda: [{"accuracy": 0.5, "log_loss": 1.0}],
        folds=[],
    )
    monkeypatch.setattr(tradeoff.setting, "evaluate_by_subject", lambda *_: result)
    images = np.arange(5.0)[:, None, None, None] * np.ones((5, 2, 2, 1))
    row = tradeoff.measure(SimpleNamespace(images=images), 1.0, argparse.Namespace(seed=0))
    assert row["left_out"] == pytest.approx((0.5 + 2.5) / 2)
    assert row["training"] == pytest.approx((3.0 + 5 / 3) / 2)


def test_slope_spans_a_factor_of_four_of_pixels_or_of_what_is_counted(script):
    scaling = script("scaling")
    quadratic = {side: [side**2 / 100, side**2 / 50] for side in (16, 32, 64, 96)}
    quadratic[16] = [1.0, 1.0]
    assert "| slope from 32, against pixels | 1.00 | 1.00 |" in scaling.axis_table("side", quadratic)
    assert "| slope from 16 | 2.52 | 2.91 |" in scaling.axis_table("classes", quadratic)
    assert "| slope from 32 | 2.00 | 2.00 |" in scaling.axis_table("threads", {k: quadratic[k] for k in (32, 64)})


def test_activations_are_measured_where_freed_memory_goes_back(script, monkeypatch):
    memory, seen = script("memory"), {}

    def record(arguments, *, env, **_):
        seen[tuple(arguments[-3:])] = env
        return SimpleNamespace(stdout="{}")

    monkeypatch.setattr(memory.subprocess, "run", record)
    for call in (("depth", 4, "store"), ("depth", 4, "reversible"), ("time", 4, "both")):
        memory.apart(*call)
    is_set = [env.get("MALLOC_MMAP_THRESHOLD_") == "65536" for env in seen.values()]
    assert is_set == [True, True, False]


def test_both_kinds_of_regenerated_expressions_are_measured(script, monkeypatch, tiny):
    neutral = script("neutral")
    monkeypatch.setattr(neutral, "FlowExpressionClassifier", lambda **_: tiny(max_steps=1))
    faces = make_faces(3, neutral=True, n_clips=1, n_frames=2, image_size=16, random_state=0)
    train, test = np.flatnonzero(faces.subject != faces.subject[0]), np.flatnonzero(faces.subject == faces.subject[0])
    found = neutral.one_fold(faces, train, test, argparse.Namespace(seed=0, steps=1))
    assert {"nearest morph of the own neutral face", "nearest morph of the face itself"} <= found.keys()
    assert all(0 <= share <= 1 for share in found.values())


def test_nearest_morph_is_of_the_given_start(script):
    moved = {"a": 10, "b": -10}
    flow = SimpleNamespace(classes_=np.array(["a", "b"]), morph=lambda start, label: start + moved[label])
    X = np.full((2, 4, 4, 1), 100)
    start = X + np.array([-9, 9])[:, None, None, None]
    assert script("neutral").nearest_morph(flow, X, start).tolist() == ["a", "b"]


def test_neutral_faces_are_expected_of_everybody(script):
    neutral = script("neutral")
    faces = SimpleNamespace(subject=np.array(["A", "B"]), target=np.array([0, 1]), target_names=["joy", "neutral"])
    with pytest.raises(SystemExit, match="mine: a neutral face was expected of everybody, but A has none"):
        neutral.check_neutral("mine", faces)


@pytest.mark.parametrize("changed", ["test", "training"])
def test_generated_faces_come_from_the_training_fold_alone(changed, script, monkeypatch, draw_images, tiny):
    """Pixels and labels of the test people enter no fit of a fold, be it of real or of generated faces."""
    imbalance, fitted = script("imbalance"), []

    def recording(build):
        def make(**_):
            classifier = build()
            fit = classifier.fit
            classifier.fit = lambda X, y: (fitted.append((X, y)), fit(X, y))[1]
            return classifier

        return make

    cnn = {"hidden_channels": 4, "n_features": 4, "max_steps": 1, "random_state": 0}
    monkeypatch.setattr(imbalance, "FlowExpressionClassifier", recording(lambda: tiny(max_steps=1)))
    monkeypatch.setattr(imbalance, "CNNExpressionClassifier", recording(lambda: CNNExpressionClassifier(**cnn)))
    X, y = draw_images(26)
    train, test = np.arange(4, 26), np.arange(4)
    X_other, y_other = X.copy(), y.copy()
    rows = test if changed == "test" else train[:4]
    X_other[rows], y_other[rows] = 255 - X[rows], y[rows][::-1]
    for images, labels in ((X, y), (X_other, y_other)):
        imbalance.one_fold(images, labels, train, test, argparse.Namespace(seed=0, steps=1))
    assert len(fitted) == 14
    pairs = zip(fitted[:7], fitted[7:], strict=True)
    is_same = [all(map(np.array_equal, before, after)) for before, after in pairs]
    assert is_same == [changed == "test"] * 7


@pytest.mark.parametrize(("found", "detectors"), [(None, ["cascade"]), ("a module", ["cascade", "haar"])])
def test_haar_is_measured_where_there_is_opencv(found, detectors, script, monkeypatch):
    faces = script("faces")
    monkeypatch.setattr(faces, "find_spec", lambda name: found)
    assert faces.installed_detectors() == detectors


def test_tables_without_faces_become_pages(script, monkeypatch, tmp_path):
    vectors, stability, few_labels = map(script, ("vectors", "stability", "semi_supervised"))
    monkeypatch.setattr(vectors, "measure", lambda name: [name, "97.0", "98.0", "7"])
    run(vectors, monkeypatch, "--data", "wine")
    monkeypatch.setattr(stability, "measure", lambda name, X, y, n_seeds: [name, n_seeds, 0, 0, 0])
    run(stability, monkeypatch, "--seeds", "3")
    monkeypatch.setattr(few_labels, "one_seed", lambda seed: {"flow": 0.9, "seconds": 2.0})
    run(few_labels, monkeypatch, "--seeds", "1")
    pages = {path.stem: path.read_text() for path in (tmp_path / "pages").iterdir()}
    assert "| wine | 97.0 | 98.0 | 7 |" in pages["vectors"]
    assert "| iris (150 x 4) | 3 | 0 | 0 | 0 |" in pages["stability"]
    assert "| flow | 90.0 | - |" in pages["semi_supervised"]


def test_stability_counts_what_goes_wrong(script, monkeypatch):
    def fit(self, X, y):
        raise RuntimeError("diverged")

    monkeypatch.setattr(FlowExpressionClassifier, "fit", fit)
    assert script("stability").measure("none", np.zeros((4, 2)), np.arange(4) % 2, 2) == ["none", 2, 2, 0, 0]


def test_paths_that_leave_the_repository_are_shortened(script, monkeypatch):
    words = ["x.py", "/home/me/faces:jaffe", "--peer=/home/me/glow", "../../me/glow", "docs/a", "--seeds=3"]
    monkeypatch.setattr(sys, "argv", words)
    told = script("reporting").command()
    assert told == "python benchmarks/x.py faces:jaffe --peer=glow glow docs/a --seeds=3"
