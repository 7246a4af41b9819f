"""From a recording to a data set, checked and changed by hand, by the command."""

import csv
import re

import numpy as np
import pytest
from PIL import Image

from flowexpr.cli import main
from flowexpr.datasets import load_faces


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, write_video):
    """Return a folder with a recording of an astronaut, 20 frames at 10 a second, and the table of its segments."""
    face = np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:256, 96:352])
    folder = tmp_path_factory.mktemp("recordings")
    write_video(folder / "a.mp4", [(face * (0.8 + 0.01 * i)).astype(np.uint8) for i in range(20)])
    (folder / "segments.csv").write_text(
        "video,start,end,label,subject,clip\na.mp4,0,0.5,joy,A,1\na.mp4,1,1.5,anger,B,2\nb.mp4,0,1,joy,C,3\n"
    )
    return folder


def arguments(recordings, output):
    return ["prepare", str(recordings), "--segments", str(recordings / "segments.csv"), "-o", str(output)]


def test_recording_to_data_set(recordings, tmp_path, capsys):
    assert main([*arguments(recordings, tmp_path / "set"), "--image-size", "32"]) == 0
    text = capsys.readouterr().out
    assert "10 crops of 11 frames or files, 2 subjects, 2 clips" in text
    assert "without a crop: no such video among the inputs 1" in text
    faces = load_faces(tmp_path / "set")
    assert faces.images.shape == (10, 32, 32, 3)
    assert faces.frame.tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


def test_review_edited_and_applied(recordings, tmp_path):
    output = tmp_path / "set"
    assert main([*arguments(recordings, output), "--review"]) == 0
    before = load_faces(output).images
    page = (output / "review.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 10
    assert page.index("no such video") < page.index("<figure")
    with open(output / "fix.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["doubt"]) for row in rows] == sorted((float(row["doubt"]) for row in rows), reverse=True)
    for row in rows:
        row["drop"] = "x" if row["frame"] == "3" else ""
        row["new_label"] = "fear" if row["frame"] == "12" else ""
        row["new_box"] = "10 20 110 120" if row["frame"] == "0" else ""
    with open(output / "fix.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert main([*arguments(recordings, output), "--review", "--fixes", str(output / "fix.csv")]) == 0
    faces = load_faces(output)
    assert faces.frame.tolist() == [0, 1, 2, 4, 10, 11, 12, 13, 14]
    assert faces.target_names[faces.target].tolist() == ["joy"] * 4 + ["anger"] * 2 + ["fear"] + ["anger"] * 2
    assert np.abs(faces.images[0].astype(int) - before[0]).mean() > 10  # of the new box
    np.testing.assert_array_equal(faces.images[1], before[1])
    with open(output / "fix.csv", newline="") as file:
        assert list(csv.DictReader(file)) == rows  # what a person wrote stays


def test_a_review_follows_its_data_set(recordings, tmp_path):
    output = tmp_path / "set"
    assert main([*arguments(recordings, output), "--review", "--rate", "5"]) == 0
    assert main(arguments(recordings, output)) == 0
    shown = re.findall(r'src="(faces/[^"]+)"', (output / "review.html").read_text(encoding="utf-8"))
    assert len(shown) == 10
    assert all((output / name).is_file() for name in shown)


def test_fixes_of_nothing_known_are_told(recordings, tmp_path, capsys):
    (tmp_path / "fix.csv").write_text("source,frame,drop,new_box,new_label\nc.mp4,0,x,,\n")
    assert main([*arguments(recordings, tmp_path / "set"), "--fixes", str(tmp_path / "fix.csv")]) == 2
    assert "fixes were expected to be of the inputs" in capsys.readouterr().err


def sources(tmp_path):
    with open(tmp_path / "set" / "manifest.csv", newline="") as file:
        return [row["source"] for row in csv.DictReader(file)]


@pytest.fixture
def photographs(tmp_path):
    """Return a folder with two drawn faces, each in the folder of its label."""
    folder = tmp_path / "in"
    for number, label in enumerate(("anger", "happy"), start=1):
        (folder / label).mkdir(parents=True)
        Image.new("L", (64, 64), 90).save(folder / label / f"S01{number}_001_00000001.png")
    return folder


def test_output_inside_the_input_is_no_input(photographs, tmp_path):
    command = ["prepare", str(tmp_path), "-o", str(tmp_path / "set"), "--detector", "none"]
    assert main(command) == main(command) == 0
    assert len(sources(tmp_path)) == 2


def test_input_inside_the_output_is_refused(photographs, capsys):
    assert main(["prepare", str(photographs / "anger"), "-o", str(photographs)]) == 2
    assert "lies in the data set" in capsys.readouterr().err


def test_doubled_input_is_taken_once(photographs, tmp_path):
    (tmp_path / "link").symlink_to(photographs / "anger")
    file = photographs / "anger" / "S011_001_00000001.png"
    doubled = [str(path) for path in (file, photographs, photographs / "anger", tmp_path / "link")]
    assert main(["prepare", *doubled, "-o", str(tmp_path / "set"), "--detector", "none"]) == 0
    assert len(sources(tmp_path)) == 2
    faces = load_faces(tmp_path / "set")
    assert faces.target_names[faces.target].tolist() == ["anger", "happy"]


def test_layout_of_a_manifest_is_refused_by_those_there_are(photographs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["prepare", str(photographs), "-o", str(tmp_path / "set"), "--layout", "manifest"])
    assert "invalid choice: 'manifest' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["ck+48", "folder"])
def test_layout_reads_the_folders_of_single_files(photographs, tmp_path, monkeypatch, layout):
    monkeypatch.chdir(photographs / "anger")
    files = ["S011_001_00000001.png", "../happy/S012_001_00000001.png"]
    assert main(["prepare", *files, "-o", str(tmp_path / "set"), "--layout", layout, "--detector", "none"]) == 0
    faces = load_faces(tmp_path / "set")
    assert faces.target_names[faces.target].tolist() == ["anger", "happy"]


def test_layout_of_folders_keeps_videos(recordings, tmp_path):
    assert main([*arguments(recordings, tmp_path / "set"), "--layout", "folder", "--detector", "none"]) == 0
    assert len(load_faces(tmp_path / "set").images) == 10


def test_photographs_that_no_segment_names_get_a_row(recordings, photographs, tmp_path):
    command = arguments(recordings, tmp_path / "set")
    assert main([*command[:2], str(photographs), *command[2:], "--detector", "none"]) == 0
    faces = load_faces(tmp_path / "set")
    assert len(faces.images) == 10
    reasons = dict(faces.skipped)
    assert reasons[str(photographs / "anger" / "S011_001_00000001.png")] == "no segment names it, and it has no label"


def test_subject_of_the_name_fills_gaps_of_the_segments(recordings, tmp_path, capsys):
    (tmp_path / "s.csv").write_text("video,start,end,label,subject\na.mp4,0,0.2,joy,A\na.mp4,1,1.2,anger,\n")
    command = ["prepare", str(recordings), "--segments", str(tmp_path / "s.csv"), "-o", str(tmp_path / "set")]
    assert main(command) == 2
    assert "subject was expected for all that is labelled or for none" in (told := capsys.readouterr().err)
    assert "1 of 2 have none: a.mp4 from 1 to 1.2" in told
    assert not (tmp_path / "set").exists()
    assert main([*command, "--subject", r"^(\w)\.", "--detector", "none"]) == 0
    assert load_faces(tmp_path / "set").subject.tolist() == ["A", "A", "a", "a"]


def test_layout_of_a_prepared_data_set_is_refused_as_such(photographs, tmp_path):
    assert main(["prepare", str(photographs), "-o", str(tmp_path / "set"), "--detector", "none"]) == 0
    with pytest.raises(ValueError, match=r"layout='folder' .* whose manifest holds the labels\. Leave layout out"):
        load_faces(tmp_path / "set", layout="folder")


def test_inputs_that_are_not_there_are_told(tmp_path, capsys):
    assert main(["prepare", str(tmp_path / "nowhere"), "-o", str(tmp_path / "set")]) == 2
    assert "there is no file or folder" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
