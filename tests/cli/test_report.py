"""Pages of an evaluation from the shell."""

import numpy as np
import pytest
from PIL import Image

from flowexpr.cli import main

TINY = ["--max-epochs", "1", "--set", "n_flows=1", "--set", "hidden_channels=8", "--set", "head_n_flows=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of 16 grey images of four subjects, and a file that is no image."""
    root = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    for i in range(16):
        low, path = (0, root / "anger" / f"P{i // 4}_{i}.png") if i % 2 else (150, root / "joy" / f"P{i // 4}_{i}.png")
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(low, low + 100, (16, 16), dtype=np.uint8)).save(path)
    (root / "joy" / "P9_broken.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def evaluated(folder, tmp_path_factory):
    """Return the result file and the page that one evaluation left."""
    made = tmp_path_factory.mktemp("made")
    result, page = made / "result.json", made / "all.html"
    read = ["--subject", r"^(P\d)", "--skip-unreadable"]
    arguments = ["evaluate", str(folder), *read, "--folds", "2", "-o", str(result), "--report", str(page), *TINY]
    assert main(arguments) == 0
    return result, page


def test_evaluate_leaves_the_whole_page(evaluated):
    text = evaluated[1].read_text("utf-8")
    assert all(f'<section id="{name}"' in text for name in ("scores", "map", "morphs", "training", "card"))
    assert "people new to the model" in text
    assert "joy/P9_broken.png" in text
    assert "data:image" not in text


def test_report_of_a_result(evaluated, tmp_path, capsys):
    assert main(["report", str(evaluated[0]), "-o", str(tmp_path / "page.html"), "--title", "Mine"]) == 0
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<h1>Mine</h1>" in text
    assert '<section id="map"' not in text
    assert "page.html (0." in capsys.readouterr().out


def test_report_with_model_and_images(evaluated, folder, tmp_path):
    model, page = tmp_path / "model.flowexpr", tmp_path / "page.html"
    read = ["--subject", r"^(P\d)", "--skip-unreadable"]
    assert main(["fit", str(folder), *read, "-o", str(model), *TINY]) == 0
    arguments = ["report", str(evaluated[0]), "--model", str(model), "--images", str(folder), *read, "--embed-faces"]
    assert main([*arguments, "-o", str(page)]) == 0
    text = page.read_text("utf-8")
    assert '<section id="morphs"' in text
    assert "data:image" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "RESULT", "-o", "x.html", "--images", "FOLDER/joy", "--label", "P.", "--skip-unreadable"],
         "was expected to hold the 16 images that were evaluated, but holds 8"),
        (["report", "RESULT", "-o", "x.html", "--embed-faces"], "embed_faces=True needs the images"),
        (["evaluate", "FOLDER", "--embed-faces"], "Pass --report FILE.html with them"),
        (["report", "RESULT", "-o", "x.pdf"], "-o x.pdf was expected to end in .html"),
        (["evaluate", "FOLDER", "--report", "x.json"], "--report x.json was expected to end in .html"),
        (["evaluate", "FOLDER", "--report", "/dev/null/x.html"], "--report /dev/null/x.html cannot be written"),
    ],
)  # fmt: skip
def test_wrong_options_are_told(evaluated, folder, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [text.replace("RESULT", str(evaluated[0])).replace("FOLDER", str(folder)) for text in arguments]
    assert main(given) == 2
    assert message in capsys.readouterr().err
