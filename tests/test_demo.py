"""The demonstration, run small: every file it promises, and numbers that come from rows nobody trained on."""

import json
import sys
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import flowexpr
from flowexpr.demo import DemoSize, mirror_half, run_demo, sample_around

TINY = DemoSize(n_subjects=4, n_clips=1, n_frames=2, image_size=16, n_splits=2, max_epochs=1)
PICTURES = ["faces.png", "samples.png", "morph.png", "latent_map.png", "confusion.png", "training.png"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "not" / "yet there"
    with redirect_stdout(StringIO()) as printed:
        results = run_demo(folder, size=TINY)
    return folder, results, printed.getvalue()


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_written_and_not_blank(demo, name):
    from matplotlib.image import imread

    picture = imread(demo[0] / name)
    assert min(picture.shape[:2]) > 200
    assert picture[..., :3].std() > 0.05


def test_model_in_the_folder_loads_and_predicts(demo):
    model = flowexpr.load(demo[0] / "model.flowexpr")
    assert model.preprocessing_["crop"] is None  # how the command reads pictures for it
    assert model.image_shape_ == (16, 16, 3)
    assert model.predict(np.zeros((1, 16, 16, 3), dtype=np.uint8))[0] in model.classes_
    assert len(model.classes_) == 6
    assert "neutral" not in model.classes_


def test_results_hold_both_protocols_and_both_estimators(demo):
    folder, results, _ = demo
    assert json.loads((folder / "results.json").read_text()) == results
    assert {(row["estimator"], row["protocol"]) for row in results["summary"]} == {
        (estimator, protocol) for estimator in ("flow", "linear") for protocol in ("random", "subject")
    }
    assert results["settings"]["n_samples"] == 4 * 6 * 2
    assert results["versions"]["flowexpr"] == flowexpr.__version__


def test_text_shows_the_table_the_meaning_and_every_file(demo):
    folder, results, text = demo
    for row in results["summary"]:
        assert f"{row['accuracy']:.1%}" in text
    assert "drawn, not photographed" in text
    for name in [*PICTURES, "model.flowexpr", "results.json"]:
        assert str(folder / name) in text


def test_invented_people_share_their_deviation_and_differ_by_the_class_average(demo):
    model = flowexpr.load(demo[0] / "model.flowexpr")
    X = np.random.default_rng(0).integers(100, 150, (24, 16, 16, 3), dtype=np.uint8)
    y = model.classes_[np.arange(24) % 6]
    faces = sample_around(model, X, y, 3, random_state=0)
    assert {name: row.shape for name, row in faces.items()} == dict.fromkeys(model.classes_, (3, 16, 16, 3))
    still = sample_around(model, X, y, 3, temperature=0, random_state=0)
    for row in still.values():
        np.testing.assert_array_equal(row[0], row[1])
    assert any(np.any(still["anger"] != row) for row in still.values())
    again = sample_around(model, X, y, 3, random_state=0)
    np.testing.assert_array_equal(again["fear"], faces["fear"])


def test_mirroring_turns_about_half_of_the_images():
    images = np.random.default_rng(0).random((1000, 4, 4, 1), dtype=np.float32)
    changed = mirror_half(images, np.random.default_rng(1))
    turned = (changed == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (changed == images).all(axis=(1, 2, 3))
    assert (turned | kept).all()
    assert 400 < turned.sum() < 600


def test_missing_matplotlib_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"flowexpr demo needs matplotlib.*pip install 'flowexpr\[plot\]'"):
        run_demo(tmp_path / "demo", size=TINY)
    assert not (tmp_path / "demo").exists()
