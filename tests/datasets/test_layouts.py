"""Data sets read by their own ways of naming files, on tiny files drawn and named that way."""

import pytest
from PIL import Image

from flowexpr.cli import main
from flowexpr.datasets import load_faces


@pytest.fixture
def write(tmp_path):
    """Return a function that writes tiny grey images of these names into a folder, and returns the folder."""

    def written(*names):
        for i, name in enumerate(names):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 10 * i).save(tmp_path / name)
        return tmp_path

    return written


def labels(faces):
    return faces.target_names[faces.target].tolist()


def test_ck48(write):
    folder = write("anger/S010_004_00000017.png", "anger/S010_004_00000018.png", "happy/S011_006_00000014.png")
    faces = load_faces(folder, layout="ck+48")
    assert labels(faces) == ["anger", "anger", "happy"]
    assert faces.subject.tolist() == ["S010", "S010", "S011"]
    assert faces.clip.tolist() == ["S010_004", "S010_004", "S011_006"]
    assert faces.frame.tolist() == [17, 18, 14]


def test_jaffe(write):
    faces = load_faces(write("KA.AN1.39.tiff", "KA.HA2.30.tiff", "KL.NE3.41.tiff"), layout="jaffe")
    assert labels(faces) == ["anger", "happiness", "neutral"]
    assert faces.subject.tolist() == ["KA", "KA", "KL"]
    assert faces.clip is None


def test_kdef(write):
    faces = load_faces(write("AF01/AF01AFS.JPG", "AF01/AF01AFHL.JPG", "BM07/BM07SUFR.JPG"), layout="kdef")
    assert labels(faces) == ["fear", "fear", "surprise"]
    assert faces.subject.tolist() == ["F01", "F01", "M07"]
    assert faces.clip.tolist() == ["AF01AF", "AF01AF", "BM07SU"]


def test_folder_is_read_even_beside_a_manifest(write):
    folder = write("happy/1.png", "sad/1.png")
    (folder / "manifest.csv").write_text("path,label\nhappy/1.png,joy\nsad/1.png,grief\n")
    assert labels(load_faces(folder, layout="folder")) == ["happy", "sad"]
    assert labels(load_faces(folder, layout="manifest")) == ["joy", "grief"]
    assert labels(load_faces(folder)) == ["joy", "grief"]


def test_callable_reads_names_of_ones_own(write):
    folder = write("anna_joy_1.png", "ben_fear_7.png")

    def mine(path):
        person, expression, number = path.stem.split("_")
        return {"label": expression, "subject": person, "clip": f"{person}{number}", "frame": int(number)}

    faces = load_faces(folder, layout=mine)
    assert labels(faces) == ["joy", "fear"]
    assert faces.subject.tolist() == ["anna", "ben"]
    assert faces.frame.tolist() == [1, 7]


@pytest.mark.parametrize(
    ("layout", "good", "wrong"),
    [
        ("ck+48", "anger/S010_004_00000017.png", "anger/S10_004_00000017.png"),
        ("ck+48", "anger/S010_004_00000017.png", "angry/S010_004_00000018.png"),
        ("jaffe", "KA.AN1.39.tiff", "KA.XX1.40.tiff"),
        ("kdef", "AF01ANS.JPG", "AF01ANX.JPG"),
        ("kdef", "AF01ANS.JPG", "AF01QQS.JPG"),
        (lambda path: {"label": "joy"} if path.stem == "a" else None, "a.png", "b.png"),
    ],
)
def test_unknown_names_are_listed_and_never_guessed(write, layout, good, wrong):
    folder = write(good, wrong)
    with pytest.raises(ValueError, match=rf"1 of 2 have other names: {wrong}\. Rename them"):
        load_faces(folder, layout=layout)


def test_unknown_layout_is_told(write):
    with pytest.raises(ValueError, match=r"layout='fer' was expected to be one of ck\+48, jaffe, kdef, folder, manif"):
        load_faces(write("a/1.png"), layout="fer")


def test_callable_that_returns_something_else_is_told(write):
    with pytest.raises(ValueError, match="layout was expected to return None or a dict of label"):
        load_faces(write("a/1.png"), layout=lambda path: path.name)


def test_manifest_whose_paths_leave_its_folder_is_refused(write, tmp_path):
    folder = write("set/1.png", "secret.png")
    (folder / "set" / "manifest.csv").write_text("path,label\n1.png,joy\n../secret.png,joy\n")
    with pytest.raises(
        ValueError, match=r"path was expected to lie in the folder of .*1 of 2 do not: \.\./secret\.png"
    ):
        load_faces(folder / "set")
    (folder / "set" / "manifest.csv").write_text(f"path,label\n1.png,joy\n{folder / 'secret.png'},joy\n")
    with pytest.raises(ValueError, match="1 of 2 do not"):
        load_faces(folder / "set")


def test_layout_reaches_prepare(write, tmp_path):
    folder = write("in/KA.AN1.39.tiff", "in/KL.NE3.41.tiff")
    arguments = ["prepare", str(folder / "in"), "--layout", "jaffe", "--detector", "none"]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 0
    faces = load_faces(tmp_path / "out")
    assert labels(faces) == ["anger", "neutral"]
    assert faces.subject.tolist() == ["KA", "KL"]
