"""From a folder of files to a model, and from the model to a table of predictions."""

import csv
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import flowexpr
from flowexpr.baselines import CNNExpressionClassifier
from flowexpr.cli import main
from flowexpr.cli.options import short_names
from flowexpr.datasets import load_faces

TINY = ["--max-epochs", "1", "--set", "n_flows=1", "--set", "hidden_channels=8", "--set", "head_n_flows=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of 24 colour images of four subjects and two expressions."""
    root = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    for i in range(24):
        path = root / ("anger" if i % 2 else "joy") / f"P{i % 4}_{i // 8}_{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "new folder" / "faces.flowexpr"
    assert main(["fit", str(folder), "--subject", r"^(P\d)", "-o", str(path), *TINY]) == 0
    return path


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_model_is_saved_with_how_images_were_prepared(model, folder):
    loaded = flowexpr.load(model)
    assert loaded.classes_.tolist() == ["anger", "joy"]
    assert loaded.image_shape_ == (16, 16, 3)
    assert loaded.preprocessing_ == {"image_size": [16, 16], "grey": False, "crop": None, "margin": 0.05}
    assert loaded.n_flows == 1
    assert loaded.random_state == 0


def test_fitting_again_forgets_how_files_were_prepared(model, folder, colour_images):
    loaded = flowexpr.load(model).fit(*colour_images)
    assert not hasattr(loaded, "preprocessing_")


def test_fit_says_what_it_read_and_did(folder, tmp_path, capsys):
    arguments = ["fit", str(folder), "--subject", r"^(P\d)", "--clip", r"_(\d)_", "-o", str(tmp_path / "m"), *TINY]
    assert main([*arguments, "--validation-fraction", "0.25", "--calibrate", "temperature"]) == 0
    text = capsys.readouterr().out
    assert "24 images of 16 x 16 pixels, colour, 4 subjects, 12 clips" in text
    assert "anger 12, joy 12" in text
    assert "held out (by group)" in text
    assert "temperature " in text
    assert "MiB of memory at most" in text


def test_predictions_are_the_models(model, folder, tmp_path):
    out = tmp_path / "out.csv"
    assert main(["predict", str(model), str(folder), "-o", str(out)]) == 0
    rows, faces, loaded = rows_of(out), load_faces(folder), flowexpr.load(model)
    assert [row["path"] for row in rows] == faces.paths.tolist()
    proba = loaded.predict_proba(faces.images)
    np.testing.assert_allclose([[float(row["p_anger"]), float(row["p_joy"])] for row in rows], proba, atol=1e-5)
    assert [row["predicted"] for row in rows] == loaded.predict(faces.images).tolist()
    expected = loaded.score_samples(faces.images)
    np.testing.assert_allclose([float(row["log_likelihood"]) for row in rows], expected, rtol=1e-5)
    np.testing.assert_allclose(
        [float(row["bits_per_dim"]) for row in rows], loaded.bits_per_dim(faces.images), atol=1e-3
    )
    assert all(row["error"] == "" for row in rows)


def test_every_input_has_a_row_whatever_it_is(model, folder, tmp_path, capsys):
    broken, missing, empty = tmp_path / "broken.png", tmp_path / "missing.png", tmp_path / "empty"
    broken.write_text("no picture")
    empty.mkdir()
    good = str(folder / "joy" / "P0_0_00.png")
    out = tmp_path / "out.csv"
    inputs = [str(broken), good, str(missing), str(empty), good]
    assert main(["predict", str(model), *inputs, "-o", str(out)]) == 0
    rows = rows_of(out)
    assert [row["path"] for row in rows] == inputs
    assert [bool(row["predicted"]) for row in rows] == [False, True, False, False, True]
    assert [bool(row["error"]) for row in rows] == [True, False, True, True, False]
    assert rows[2]["error"] == "no such file"
    assert "3 of 5 rows have no prediction" in capsys.readouterr().err


def test_status_is_1_where_nothing_could_be_read(model, tmp_path, capsys):
    assert main(["predict", str(model), str(tmp_path / "missing.png")]) == 1
    assert "no such file" in capsys.readouterr().out


def test_photographs_are_prepared_as_for_training(model, tmp_path):
    Image.new("L", (200, 120), 90).save(tmp_path / "photo.jpg")
    assert main(["predict", str(model), str(tmp_path / "photo.jpg"), "-o", str(tmp_path / "out.csv")]) == 0
    assert rows_of(tmp_path / "out.csv")[0]["error"] == ""


def test_model_saved_from_python_takes_files_too(fitted_images, tmp_path):
    fitted_images.save(tmp_path / "model")
    Image.new("RGB", (20, 20)).save(tmp_path / "face.png")
    out = str(tmp_path / "out.csv")
    assert main(["predict", str(tmp_path / "model"), str(tmp_path / "face.png"), "-o", out]) == 0
    assert rows_of(out)[0]["predicted"] in {"anger", "fear", "joy"}


def test_model_of_vectors_takes_no_files(fitted_vectors, tmp_path, capsys):
    fitted_vectors.save(tmp_path / "model")
    assert main(["predict", str(tmp_path / "model"), "face.png"]) == 2
    assert "was fitted on vectors of 2 features, which image files do not hold" in capsys.readouterr().err


def test_ctrl_c_saves_what_was_learned(folder, tmp_path, monkeypatch, capsys):
    from flowexpr.training.loop import Trainer

    step = Trainer._train_step

    def interrupted(trainer, *args):
        if trainer.step == 1:
            raise KeyboardInterrupt
        step(trainer, *args)

    monkeypatch.setattr(Trainer, "_train_step", interrupted)
    path = tmp_path / "model"
    arguments = ["fit", str(folder), "-o", str(path), *TINY, "--max-epochs", "3", "--batch-size", "8"]
    assert main(arguments) == 130
    told = capsys.readouterr().err
    assert told.index("interrupted: finishing with what was learned") < told.index("holds what was learned so far")
    assert flowexpr.load(path).n_steps_ == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "n_flow=1"], "--set n_flow=1 was expected to be NAME=VALUE, NAME being one of augment"),
        (["--set", "n_flows"], "--set n_flows was expected to be NAME=VALUE"),
        (["--set", "n_flows=0"], "n_flows=0 is not allowed. Pass an integer of at least 1"),
        (["--classes", "anger,fear"], "not found: fear"),
        (["--subject", "^Q"], "finds nothing in 24 of 24"),
    ],
)
def test_wrong_options_are_told_before_training(folder, tmp_path, arguments, message, capsys):
    assert main(["fit", str(folder), "-o", str(tmp_path / "m"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("option", [["--image-size", "0"], ["--image-size", "4x4x4"], ["--crop", "1,2"]])
def test_wrong_option_values_say_what_was_expected(folder, tmp_path, option, capsys):
    with pytest.raises(SystemExit):
        main(["fit", str(folder), "-o", str(tmp_path / "m"), *option])
    assert "expected" in capsys.readouterr().err


def test_output_that_is_a_folder_is_told_before_reading(folder, tmp_path, capsys):
    assert main(["fit", str(folder), "-o", str(tmp_path)]) == 2
    assert "was expected to be a file, but is a folder" in capsys.readouterr().err


def test_data_options_reach_the_reader(folder, tmp_path):
    options = ["--grey", "--image-size", "12x8", "--crop", "0,0,0.5,1"]
    assert main(["fit", str(folder), "-o", str(tmp_path / "m"), *options, *TINY]) == 0
    loaded = flowexpr.load(tmp_path / "m")
    assert loaded.image_shape_ == (12, 8, 1)
    assert loaded.preprocessing_ == {
        "image_size": [12, 8],
        "grey": True,
        "crop": [0.0, 0.0, 0.5, 1.0],
        "margin": 0.05,
    }


def test_unreadable_files_can_be_left_out(folder, tmp_path, capsys):
    manifest = folder / "some.csv"
    manifest.write_text("path,label\njoy/P0_0_00.png,joy\nanger/P1_0_01.png,anger\njoy/none.png,joy\n")
    assert main(["fit", str(manifest), "-o", str(tmp_path / "m"), *TINY]) == 2
    assert "--skip-unreadable" in capsys.readouterr().err
    assert main(["fit", str(manifest), "-o", str(tmp_path / "m"), "--skip-unreadable", *TINY]) == 0
    assert "left out: " in capsys.readouterr().err


def test_a_name_that_is_no_text_has_its_row_too(model, tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"latin\xe9.png"), "wb") as file:
        Image.new("L", (32, 32)).save(file, "PNG")
    assert main(["predict", str(model), str(tmp_path), "-o", str(tmp_path / "out.csv")]) == 0
    rows = (tmp_path / "out.csv").read_bytes().splitlines()
    assert len(rows) == 2
    assert b"latin\xe9.png" in rows[1]


def test_what_a_decoder_raises_is_the_reason_of_a_row(model, tmp_path, monkeypatch, capsys):
    def broken(*args, **options):
        raise RuntimeError("Failed to decode image")

    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.ImageOps.exif_transpose", broken)
    assert main(["predict", str(model), str(tmp_path / "a.png")]) == 1
    assert "Failed to decode image" in capsys.readouterr().out


def test_inputs_are_never_replaced(folder, model, tmp_path, capsys):
    own = shutil.copytree(folder, tmp_path / "faces")
    image, copied = next((own / "joy").iterdir()), shutil.copy(model, tmp_path / "own.flowexpr")
    linked = tmp_path / "linked.csv"
    linked.symlink_to(image)
    for output, command in (
        (image, ["fit", own]),
        (copied, ["predict", copied, image]),
        (image, ["predict", model, own]),
        (linked, ["predict", model, image]),
        (image, ["evaluate", own]),
    ):
        before = output.read_bytes()
        assert main([*map(str, command), "-o", str(output)]) == 2
        assert f"-o {output} would replace an input. Pass another place." in capsys.readouterr().err
        assert output.read_bytes() == before
    assert main(["predict", str(model), str(image), "-o", str(own / "joy" / "new.csv")]) == 0  # beside them
    page = str(tmp_path / "both.html")
    assert main(["evaluate", str(own), "-o", page, "--report", page]) == 2
    assert "-o and --report were both given" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--min-confidence", "--min-typicality"])
def test_shares_that_are_none_are_told(option, folder, model, capsys):
    assert main(["predict", str(model), str(folder), option, "80"]) == 2
    assert f"{option} 80 was expected to be a share, from 0 to 1." in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "4294967296", "x"])
def test_seeds_are_checked_before_any_image_is_read(seed, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "nowhere", "-o", "m", f"--random-state={seed}"])
    assert "expected an integer from 0 to 4294967295" in capsys.readouterr().err


def test_the_file_of_a_cnn_is_refused(folder, tmp_path, capsys):
    faces = load_faces(folder)
    cnn = CNNExpressionClassifier(hidden_channels=4, max_steps=1).fit(faces.images, faces.target)
    cnn.save(tmp_path / "cnn.safetensors")
    for command in (["predict"], ["explain", "-o", str(tmp_path / "page.html")]):
        arguments = [command[0], str(tmp_path / "cnn.safetensors"), str(next(folder.rglob("*.png"))), *command[1:]]
        assert main(arguments) == 2
        assert "was expected to hold a flow, but holds a CNNExpressionClassifier" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_detector_that_finds_nothing_is_refused(model, folder, capsys):
    assert main(["predict", str(model), str(folder), "--detector", "cascade"]) == 2
    assert "--detector finds faces, but the images are taken as they are" in capsys.readouterr().err


def test_images_may_stay_in_a_file(folder, tmp_path, same_weights):
    fitted = []
    for name, options in (("memory", []), ("file", ["--memmap", str(tmp_path / "faces.npy")])):
        assert main(["fit", str(folder), "-o", str(tmp_path / name), *TINY, *options]) == 0
        fitted.append(flowexpr.load(tmp_path / name))
    assert np.load(tmp_path / "faces.npy").shape == (24, 16, 16, 3)
    assert same_weights(*fitted)


def test_files_of_one_name_are_called_by_their_paths():
    assert short_names(["a/x.png", "b/x.png", "b/y.png", "b/y.png"]) == ["a/x.png", "b/x.png", "y.png", "y.png"]
