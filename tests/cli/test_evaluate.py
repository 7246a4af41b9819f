"""Cross-validation from the shell."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowexpr.cli import evaluate as evaluate_command
from flowexpr.cli import main
from flowexpr.cli.main import _parser
from flowexpr.evaluation import EvaluationResult

TINY = ["--max-epochs", "1", "--set", "n_flows=1", "--set", "hidden_channels=8", "--set", "head_n_flows=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of 16 grey images: bright faces are joy, dark ones anger; four subjects, eight clips."""
    root = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    for i in range(16):
        label = "anger" if i % 2 else "joy"
        path = root / label / f"P{i // 4}_{i // 2 % 2}_{i}.png"
        path.parent.mkdir(exist_ok=True)
        low = 0 if i % 2 else 150
        Image.fromarray(random.integers(low, low + 100, (16, 16), dtype=np.uint8)).save(path)
    return root


def test_all_protocols_that_the_names_allow(folder, tmp_path, capsys):
    out = tmp_path / "scores.json"
    arguments = ["evaluate", str(folder), "--subject", r"^(P\d)", "--clip", r"_(\d)_", "--folds", "2", "-o", str(out)]
    assert main([*arguments, *TINY]) == 0
    text = capsys.readouterr().out
    assert "16 images of 16 x 16 pixels, grey, 4 subjects, 8 clips" in text
    assert "share of each expression that was recognised" in text
    assert "MiB of memory at most" in text
    scores = json.loads(out.read_text())
    assert {(row["protocol"], row["estimator"]) for row in scores["summary"]} == {
        (protocol, estimator) for protocol in ("random", "clip", "subject") for estimator in ("linear", "flow")
    }
    assert all(row["accuracy"] == 1 for row in scores["summary"] if row["estimator"] == "linear")


def test_the_cnn_on_the_same_folds_one_subject_out_and_resumed(folder, tmp_path, capsys):
    out, kept = tmp_path / "scores.json", tmp_path / "kept"
    arguments = ["evaluate", str(folder), "--subject", r"^(P\d)", "--protocols", "loso", "--max-folds", "2"]
    arguments += ["--estimators", "cnn,flow", "--checkpoint-dir", str(kept), "-o", str(out)]
    assert main([*arguments, *TINY]) == 0
    first = out.read_text()
    assert "loso: flow - cnn" in capsys.readouterr().out
    assert main([*arguments, *TINY]) == 0
    assert "4 of 4 fits were done before" in capsys.readouterr().err
    assert out.read_text() == first


def test_a_page_is_made_of_fits_that_are_kept(folder, tmp_path, capsys):
    pytest.importorskip("openTSNE")
    arguments = ["evaluate", str(folder), "--subject", r"^(P\d)", "--folds", "2", "--protocols", "subject", *TINY]
    arguments += ["--checkpoint-dir", str(tmp_path / "kept")]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main([*arguments, "--report", str(tmp_path / "page.html"), "--latent-table"]) == 0
    assert "4 of 4 fits were done before" in capsys.readouterr().err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Extra Trees" in page
    assert "Purity" in page
    assert str(tmp_path) not in page


def test_without_subjects_the_number_is_put_in_its_place(folder, capsys):
    assert main(["evaluate", str(folder), "--folds", "2", "--max-folds", "1", *TINY]) == 0
    printed = capsys.readouterr()
    assert "says nothing about new people" in printed.err
    assert "\nsubject" not in printed.out


def test_no_more_folds_than_subjects(folder, capsys):
    arguments = ["evaluate", str(folder), "--subject", r"^(P\d)", "--protocols", "subject", "--max-folds", "1", *TINY]
    assert main(arguments) == 0
    assert "--folds 5 is more than there are subjects: 4 folds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocols", "subject"], "The protocol 'subject' needs subject="),
        (["--protocols", "people"], "protocols was expected to be a sequence of"),
        (["-o", "/dev/null/all.json"], "-o /dev/null/all.json cannot be written in /dev/null"),
        (["-o", "."], "-o . was expected to be a file, but is a folder"),
        (["--estimators", "svm"], "--estimators should name some of linear, cnn, flow, but 'svm' is none of them"),
        (["--folds", "1"], "--folds 1 was expected to be at least 2"),
    ],
)
def test_wrong_options_are_told(folder, arguments, message, capsys):
    assert main(["evaluate", str(folder), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_fails_leaves_no_folder_behind(folder, tmp_path, capsys):
    place = tmp_path / "new" / "deeper"
    assert main(["evaluate", str(folder), "-o", str(place / "all.json"), "--folds", "1"]) == 2
    assert main(["report", "no result.json", "-o", str(place / "page.html")]) == 2
    assert not place.parent.exists()


def test_a_folder_that_may_not_be_looked_into_is_told(folder, tmp_path, monkeypatch, capsys):
    place = tmp_path / "closed" / "all.json"
    exists = Path.exists

    def refuse(path):
        if path == place:
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refuse)
    assert main(["evaluate", str(folder), "-o", str(place)]) == 2
    assert f"-o {place} cannot be written in {place.parent}. Pass another place." in capsys.readouterr().err


def test_the_flow_is_compared_with_the_others_and_not_they_with_it(tmp_path, capsys):
    random = np.random.default_rng(0)
    for i in range(24):
        path = tmp_path / "noise" / ("anger" if i // 4 % 2 else "joy") / f"P{i % 4}_{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    out = tmp_path / "scores.json"
    arguments = ["evaluate", str(tmp_path / "noise"), "--subject", r"^(P\d)", "--folds", "2", "--protocols", "subject"]
    assert main([*arguments, "--random-state", "7", "-o", str(out), *TINY]) == 0
    result = EvaluationResult.from_json(out)
    assert result.settings["random_state"] == 7
    difference = result.compare("flow", "linear", "subject")["difference"]
    assert difference != 0
    assert f"flow - linear {difference:+.1%}" in capsys.readouterr().out


def test_every_estimator_has_the_seed(folder):
    options = _parser().parse_args(["evaluate", str(folder), "--random-state", "7", "--estimators", "cnn,flow,linear"])
    for estimator in evaluate_command._estimators(options).values():
        seeds = [value for name, value in estimator.get_params().items() if name.rpartition("__")[2] == "random_state"]
        assert seeds
        assert set(seeds) == {7}


@pytest.mark.parametrize("option", ["--protocols", "--estimators", "--classes"])
def test_lists_without_a_name_are_refused(folder, option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(folder), option, ","])
    assert stop.value.code == 2
    assert "expected names, separated by commas, but came ','" in capsys.readouterr().err
