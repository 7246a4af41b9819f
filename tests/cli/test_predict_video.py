"""A model on a recording: a row for every frame, in batches or one by one, smoothed, plotted, as py-feat has it."""

import csv
import re
import sys

import numpy as np
import pytest
from PIL import Image

from flowexpr.cli import main, predict
from flowexpr.cli.predictions import FexColumns, Prediction, Smoother
from flowexpr.datasets import make_faces
from flowexpr.faces.pictures import Picture


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny):
    """Return the file of a tiny model of drawn faces."""
    drawn = make_faces(3, expressions=("happiness", "anger"), n_clips=1, n_frames=4, image_size=16, random_state=0)
    path = tmp_path_factory.mktemp("model") / "m.flowexpr"
    tiny().fit(drawn.images, drawn.target_names[drawn.target]).save(path)
    return str(path)


@pytest.fixture(scope="module")
def video(tmp_path_factory, write_video):
    """Return a recording of 18 frames at 10 a second; frames 6 to 11 show no face."""
    face = np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:256, 96:352])
    seen = [(face * (0.7 + 0.015 * i)).astype(np.uint8) for i in range(18)]
    frames = [np.full_like(face, 128) if 6 <= i < 12 else frame for i, frame in enumerate(seen)]
    return str(write_video(tmp_path_factory.mktemp("video") / "talk.mp4", frames))


def predicted(tmp_path, *arguments):
    out = tmp_path / "out.csv"
    assert main(["predict", *arguments, "-o", str(out)]) == 0
    with open(out, newline="") as file:
        return list(csv.DictReader(file))


def shares(rows, prefix="p_"):
    return np.array([[float(row[f"{prefix}{name}"]) for name in ("anger", "happiness")] for row in rows])


def test_every_frame_has_its_row(model, video, tmp_path):
    rows = predicted(tmp_path, model, video)
    assert [int(row["frame"]) for row in rows] == list(range(18))
    np.testing.assert_allclose([float(row["time"]) for row in rows], np.arange(18) / 10, atol=1e-3)
    assert [row["face_found"] for row in rows] == ["yes"] * 6 + ["no"] * 6 + ["yes"] * 6
    assert {row["rejected"] for row in rows[6:12]} == {"no face found"}
    seen = rows[:6] + rows[12:]
    np.testing.assert_allclose(shares(seen).sum(1), 1, atol=1e-4)
    assert all(len(row["box"].split()) == 4 for row in seen)
    assert all(0 <= float(row["typicality"]) <= 1 and float(row["log_likelihood"]) < 0 for row in seen)


def test_a_batch_gives_the_same_numbers_as_one_by_one(model, video, tmp_path):
    together = predicted(tmp_path, model, video, "--batch-size", "64")
    alone = predicted(tmp_path, model, video, "--batch-size", "1")
    for first, second in zip(together, alone, strict=True):
        assert {k: first[k] for k in ("frame", "time", "box", "predicted", "rejected")} == {
            k: second[k] for k in ("frame", "time", "box", "predicted", "rejected")
        }
        if first["predicted"]:
            np.testing.assert_allclose(shares([first]), shares([second]), atol=1e-4)  # float32
            for name in ("log_likelihood", "bits_per_dim", "typicality"):
                assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-5)


def test_smoothed_columns_average_the_past_and_stop_at_no_gap(model, video, tmp_path):
    rows = predicted(tmp_path, model, video, "--smooth", "0.2")
    raw, smooth = shares(rows[:6]), shares(rows[:6], "smooth_")
    weights = 0.5 ** ((5 - np.arange(6)) * 0.1 / 0.2)
    np.testing.assert_allclose(smooth[5], weights @ raw / weights.sum(), atol=1e-4)
    assert all(row["smooth_anger"] == "" for row in rows[6:12])


def test_rejections_say_why(model, video, tmp_path):
    rows = predicted(tmp_path, model, video, "--min-confidence", "0.9999", "--min-typicality", "1")
    assert "confidence 0." in rows[0]["rejected"]
    assert "below 0.9999; typicality" in rows[0]["rejected"]
    assert rows[0]["predicted"]


def test_plot_is_a_picture(model, video, tmp_path):
    pytest.importorskip("matplotlib")
    predicted(tmp_path, model, video, "--plot", str(tmp_path / "out.png"))
    with Image.open(tmp_path / "out.png") as plot:
        assert plot.size[0] > 500


def test_columns_of_py_feat(model, video, tmp_path):
    rows = predicted(tmp_path, model, video, "--format", "fex")
    assert list(rows[0]) == [
        *("frame", "FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"),
        *("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "input", "approx_time"),
        "rejected",
    ]
    assert [row["frame"] for row in rows] == [str(i) for i in range(18)]
    own = predicted(tmp_path, model, video)
    left, top, right, bottom = map(float, own[0]["box"].split())
    found = [float(rows[0][f"FaceRect{name}"]) for name in ("X", "Y", "Width", "Height")]
    np.testing.assert_allclose(found, [left, top, right - left, bottom - top], atol=0.11)
    assert rows[0]["happiness"] == own[0]["p_happiness"]
    assert rows[0]["fear"] == rows[7]["anger"] == ""
    assert rows[0]["approx_time"] == "00:00"


def test_columns_of_py_feat_keep_the_probabilities_beside_smoothed_ones(model, video, tmp_path):
    rows = predicted(tmp_path, model, video, "--format", "fex", "--smooth", "0.2")
    own = predicted(tmp_path, model, video, "--smooth", "0.2")
    assert rows[5]["happiness"] == own[5]["p_happiness"]
    assert rows[5]["smooth_happiness"] == own[5]["smooth_happiness"] != rows[5]["happiness"]


def test_columns_of_py_feat_say_what_is_wrong(model, video, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    *rows, bad = predicted(tmp_path, model, video, str(tmp_path / "bad.mp4"), "--format", "fex")
    assert rows[7]["rejected"] == "no face found"
    assert (bad["frame"], bad["approx_time"]) == ("", "")
    assert bad["rejected"].startswith("not a video")


def test_smoothing_begins_anew_with_every_recording():
    smoother, probabilities = Smoother(1.0), np.array([[0.9, 0.1], [0.2, 0.8]])
    for frame in (0, 1, 0):
        smooth = smoother.add(Prediction(Picture("a.mp4", frame, frame / 10), "", probabilities[frame]))
    np.testing.assert_array_equal(smooth, probabilities[0])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--detector", "cascades"), "detector='cascades' was expected to be one of"),
        (("--plot", "out.xyz"), r"--plot out\.xyz was expected to end in one of \..*\.png"),
    ],
)
def test_wrong_options_leave_an_earlier_output(model, video, tmp_path, capsys, monkeypatch, option, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.csv").write_text("earlier")
    assert main(["predict", model, video, "-o", "out.csv", *option]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert (tmp_path / "out.csv").read_text() == "earlier"


def test_plot_without_a_video_is_refused_at_once(model, tmp_path, capsys):
    Image.new("L", (16, 16)).save(tmp_path / "a.png")
    assert main(["predict", model, str(tmp_path / "a.png"), "--plot", str(tmp_path / "out.png")]) == 2
    assert "no input is a video" in capsys.readouterr().err


def test_without_pyav_an_earlier_output_stays(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "out.csv").write_text("earlier")
    (tmp_path / "clip.mp4").write_bytes(b"video")
    assert main(["predict", str(model), str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "out.csv")]) == 2
    assert "reading videos needs PyAV" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "earlier"


def test_labels_of_one_emotion_have_their_sum():
    columns = FexColumns(["Happy", "happiness", "fear"], smoothed=False)
    prediction = Prediction(Picture("a.png", None), "Happy", np.array([0.5, 0.3, 0.2]))
    row = dict(zip(columns.header, columns.row(prediction, None), strict=True))
    assert (row["happiness"], row["fear"], row["anger"]) == ("0.8", "0.2", "")


def test_the_clock_of_a_fex_table_has_minutes():
    cells = FexColumns(["fear"], smoothed=False).row(Prediction(Picture("a.mp4", 9, 75.0), "fear", np.ones(1)), None)
    assert "01:15" in cells


def test_a_smoothed_plot_is_of_what_is_smoothed(tmp_path, model, video, monkeypatch):
    shown = []
    monkeypatch.setattr(predict, "_plot", lambda timelines, *_: shown.extend(timelines))
    rows = predicted(tmp_path, model, video, "--smooth", "0.2", "--plot", str(tmp_path / "p.png"))
    ((_, timeline),) = shown
    smooth = [[float(row[name]) for name in row if name.startswith("smooth_")] for row in rows if row["p_anger"]]
    drawn = [probabilities for _, probabilities in timeline._kept if np.isfinite(probabilities).all()]
    np.testing.assert_allclose(drawn, smooth, atol=1e-5)
