"""Explanations from the shell: a figure, a page, and wrong requests."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from flowexpr.cli import main


@pytest.fixture(scope="module")
def model(fitted_images, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "faces.flowexpr"
    fitted_images.save(path)
    return path


@pytest.fixture(scope="module")
def folder(colour_images, tmp_path_factory):
    """Return a folder of the training images by label."""
    root = tmp_path_factory.mktemp("faces")
    for i, (image, label) in enumerate(zip(*colour_images, strict=True)):
        (root / label).mkdir(exist_ok=True)
        Image.fromarray(image).save(root / label / f"{i:02d}.png")
    return root


def test_figure_is_written_and_the_sentence_printed(model, folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    image, output = folder / "anger" / "00.png", tmp_path / "new" / "why.png"
    assert main(["explain", str(model), str(image), "--reference", str(folder), "-o", str(output)]) == 0
    assert np.asarray(Image.open(output)).std() > 0
    assert " rather than " in capsys.readouterr().out


def test_page_holds_every_image_and_nothing_from_elsewhere(model, folder, tmp_path):
    images, output = [str(folder / "anger" / "00.png"), str(folder / "fear" / "01.png")], tmp_path / "why.html"
    arguments = ["--against", "joy", "--reference", str(folder), "-o", str(output)]
    assert main(["explain", str(model), *images, *arguments]) == 0
    text = output.read_text("utf-8")
    assert text.count('<article class="why">') == 2
    assert "00.png" in text
    assert "against joy" in text
    assert text.count("Nearest reference faces of joy") == 2
    assert text.count("than this face moved to a tie of all classes has") == 2
    assert "http" not in text.replace("http-equiv", "")


def test_page_says_that_the_map_starts_from_the_face_given(model, folder, tmp_path):
    image, output = str(folder / "anger" / "00.png"), tmp_path / "why.html"
    assert main(["explain", str(model), image, "--neutral", str(folder / "fear" / "01.png"), "-o", str(output)]) == 0
    assert "the map starts from the neutral face given" in output.read_text("utf-8")


def test_an_expression_is_asked_about_and_the_start_named(model, folder, tmp_path):
    image, output = str(folder / "anger" / "00.png"), tmp_path / "why.html"
    asked = ["--label", "fear", "--against", "joy", "--neutral", "joy"]
    assert main(["explain", str(model), image, *asked, "-o", str(output)]) == 0
    text = output.read_text("utf-8")
    assert "fear rather than joy" in text
    assert "the map starts from this face moved towards joy" in text


def test_faces_of_the_same_person_are_left_out_of_the_reference(model, folder, tmp_path, capsys):
    image, output = folder / "anger" / "00.png", tmp_path / "why.html"
    arguments = ["explain", str(model), str(image), "--reference", str(folder), "-o", str(output)]
    assert main(arguments) == 0
    assert output.read_text("utf-8").count("distance ") == 6
    with pytest.warns(UserWarning, match="neighbours are empty"):
        assert main([*arguments, "--subject", "png"]) == 0  # all of one person
    assert "distance " not in output.read_text("utf-8")
    assert main([*arguments, "--subject", "S01"]) == 2
    stranger = shutil.copy(image, tmp_path / "new.jpeg")
    shown = ["explain", str(model), str(stranger), "--reference", str(folder), "-o", str(output)]
    capsys.readouterr()
    assert main([*shown, "--subject", r"^\w+/(\d+)\.png"]) == 0  # below the folder; the stranger is nobody of it
    assert "new.jpeg: --subject finds nobody in its name" in capsys.readouterr().err
    assert output.read_text("utf-8").count("distance ") == 6


def test_what_leads_nowhere_is_told(model, folder, tmp_path, capsys):
    output = str(tmp_path / "why.html")
    assert main(["explain", str(model), str(folder / "anger"), "-o", output]) == 2
    assert "is a folder, but an image was expected. Pass its images" in capsys.readouterr().err
    image = str(folder / "anger" / "00.png")
    assert main(["explain", str(model), image, "--subject", "x", "-o", output]) == 2
    assert "no --reference was given" in capsys.readouterr().err


def test_reference_faces_of_unknown_expressions_are_left_out(model, folder, tmp_path, capsys):
    reference = tmp_path / "faces"
    shutil.copytree(folder, reference)
    shutil.copytree(folder / "anger", reference / "contempt")
    image, output = str(folder / "anger" / "00.png"), str(tmp_path / "why.html")
    assert main(["explain", str(model), image, "--reference", str(reference), "-o", output]) == 0
    assert "left out what the model does not know: contempt" in capsys.readouterr().err
    shutil.move(reference / "contempt", tmp_path / "other" / "contempt")
    assert main(["explain", str(model), image, "--reference", str(tmp_path / "other"), "-o", output]) == 2
    assert "was expected to hold faces of anger, fear, joy, but holds contempt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--against", "bliss"], "--against bliss was expected to be one of anger, fear, joy"),
        (["--label", "bliss"], "--label bliss was expected to be one of anger, fear, joy"),
        (["--neutral", "bliss"], "--neutral bliss was expected to be an image or one of anger, fear, joy"),
        (["second.png"], "takes one image, but 2 came. Write a page"),
    ],
)
def test_wrong_requests_are_told(model, folder, tmp_path, capsys, more, message):
    pytest.importorskip("matplotlib")
    image = str(folder / "anger" / "00.png")
    assert main(["explain", str(model), image, *more, "-o", str(tmp_path / "why.png")]) == 2
    assert message in capsys.readouterr().err


def test_an_output_that_is_no_figure_is_told_first(model, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["explain", str(model), "nothing.png", "-o", str(tmp_path / "why.txt")]) == 2
    assert "was expected to end in .html or one of .png" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["model", "image", "neutral", "reference"])
def test_an_output_that_is_an_input_is_told_and_nothing_lost(model, folder, tmp_path, capsys, kind):
    pytest.importorskip("matplotlib")
    own = {"model": shutil.copy(model, tmp_path / "own.png"), "folder": shutil.copytree(folder, tmp_path / "own")}
    image = own["folder"] / "anger" / "00.png"
    other = own["folder"] / "fear" / "01.png"
    output = {"model": own["model"], "image": image, "neutral": other, "reference": other}[kind]
    more = ["--neutral", str(other)] if kind == "neutral" else ["--reference", str(own["folder"])]
    before = output.read_bytes()
    assert main(["explain", str(own["model"]), str(image), *more, "-o", str(output)]) == 2
    assert f"-o {output} would replace an input. Pass another place." in capsys.readouterr().err
    assert output.read_bytes() == before


def test_warnings_are_told_without_code(model, folder, tmp_path):
    arguments = [str(model), str(folder / "anger" / "00.png"), "--reference", str(folder), "--subject", "png"]
    command = [sys.executable, "-m", "flowexpr", "explain", *arguments, "-o", str(tmp_path / "why.html")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "flowexpr: exclude leaves no reference sample" in told
    assert "UserWarning" not in told


def test_a_missing_image_is_named(model, tmp_path, capsys):
    assert main(["explain", str(model), "nothing.png", "-o", str(tmp_path / "why.html")]) == 2
    assert "nothing.png: no such file" in capsys.readouterr().err
