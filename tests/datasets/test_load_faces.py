"""Folders and manifests of image files, drawn and named in a temporary folder."""

import csv
import os

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import GroupKFold, cross_val_score

from flowexpr.datasets import load_faces, make_faces

NAMES = [
    "anger/S010_004_00000017.png",
    "anger/S010_004_00000018.png",
    "happy/S010_006_00000014.png",
    "happy/S011_001_00000011.png",
    "sadness/S011_002_00000020.png",
]


@pytest.fixture
def folder(tmp_path):
    """Return a folder of grey images of 8 x 8, each filled with its number, named as CK+48 names them."""
    for i, name in enumerate(NAMES):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * i).save(path)
    return tmp_path / "faces"


def write_manifest(path, rows, columns=("path", "label", "subject", "clip")):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([columns, *rows])
    return path


def test_expression_comes_from_the_folder_and_the_rest_from_the_name(folder):
    faces = load_faces(folder, subject=r"^(S\d+)", clip=r"^S\d+_(\d+)")
    assert faces.images.shape == (5, 8, 8, 1)
    assert faces.images.dtype == np.uint8
    assert faces.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]
    assert faces.target_names.tolist() == ["anger", "happy", "sadness"]
    assert faces.target.tolist() == [0, 0, 1, 1, 2]
    assert faces.subject.tolist() == ["S010", "S010", "S010", "S011", "S011"]
    assert faces.clip.tolist() == ["004", "004", "006", "001", "002"]
    assert faces.frame.tolist() == [0, 1, 0, 0, 0]
    assert [path[-len(name) :] for path, name in zip(faces.paths, NAMES, strict=True)] == NAMES
    assert faces.skipped == []


def test_relative_folders_and_manifests_are_taken(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert load_faces("faces").images.shape == (5, 8, 8, 1)
    write_manifest(folder / "table.csv", [(NAMES[0], "a"), (NAMES[3], "b")], ("path", "label"))
    assert load_faces("faces/table.csv").target_names.tolist() == ["a", "b"]


def test_what_no_pattern_tells_is_none(folder):
    faces = load_faces(folder)
    assert faces.subject is None
    assert faces.clip is None
    assert faces.frame is None


def test_label_from_the_name_as_jaffe_has_it(tmp_path):
    for name in ("KA.AN1.39.tiff", "KA.HA1.29.tiff", "KL.NE2.41.tiff"):
        Image.new("P", (8, 8)).save(tmp_path / name)
    faces = load_faces(tmp_path, label=r"\.([A-Z]{2})\d", subject="^[A-Z]{2}", classes=["AN", "HA"])
    assert faces.target_names.tolist() == ["AN", "HA"]
    assert faces.subject.tolist() == ["KA", "KA"]  # the whole match, where there is no group


def test_pattern_with_a_slash_is_searched_in_the_path(tmp_path):
    for name in ("anna/happy/1.png", "ben/sad/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    faces = load_faces(tmp_path, subject="^([^/]+)/")
    assert faces.subject.tolist() == ["anna", "ben"]
    assert faces.target_names.tolist() == ["happy", "sad"]


def test_manifest_tells_everything(folder):
    rows = [(NAMES[4], "blue", "x", "c1"), (NAMES[0], "red", "y", "c2"), (NAMES[1], "red", "y", "c2")]
    manifest = write_manifest(folder.parent / "faces" / "table.csv", rows)
    faces = load_faces(manifest)
    assert faces.images[:, 0, 0, 0].tolist() == [40, 0, 10]
    assert faces.target_names[faces.target].tolist() == ["blue", "red", "red"]
    assert faces.subject.tolist() == ["x", "y", "y"]
    assert faces.clip.tolist() == ["c1", "c2", "c2"]
    assert faces.frame.tolist() == [0, 0, 1]


def test_manifest_in_the_folder_is_read(folder):
    write_manifest(folder / "manifest.csv", [(NAMES[2], "a"), (NAMES[3], "b")], ("path", "label"))
    faces = load_faces(folder, subject=r"^(S\d+)")
    assert faces.target_names.tolist() == ["a", "b"]
    assert faces.subject.tolist() == ["S010", "S011"]
    assert faces.clip is None


def test_frame_of_the_manifest_is_kept(folder):
    rows = [(NAMES[0], "a", "17"), (NAMES[2], "b", "3")]
    faces = load_faces(write_manifest(folder / "t.csv", rows, ("path", "label", "frame")))
    assert faces.frame.tolist() == [17, 3]


def test_grey_among_coloured_images_gets_three_channels(folder):
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "happy" / "S012_001_00000001.png")
    faces = load_faces(folder)
    assert faces.images.shape == (6, 8, 8, 3)
    assert (faces.images[1] == 10).all()
    assert (faces.images[4] == [1, 2, 3]).all()
    assert load_faces(folder, grey=True).images.shape == (6, 8, 8, 1)
    assert load_faces(folder, grey=True).preparation["grey"] is True


@pytest.fixture
def with_colour(folder):
    """Return the folder with one image in colour among the grey ones."""
    Image.new("RGB", (8, 8), (200, 0, 0)).save(folder / NAMES[2])
    return folder


def test_memmap_holds_what_memory_would(with_colour, tmp_path):
    expected, file = load_faces(with_colour), tmp_path / "faces.npy"
    np.save(file, np.zeros((2, 4, 4, 1), np.uint8))  # of another run
    faces = load_faces(with_colour, memmap=file)
    assert isinstance(faces.images, np.memmap)
    assert not faces.images.flags.writeable
    np.testing.assert_array_equal(faces.images, expected.images)
    np.testing.assert_array_equal(np.load(file), expected.images)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["faces.npy"]


def test_memmap_goes_into_an_npy_file(folder, tmp_path):
    for wrong in (tmp_path / "faces.bin", tmp_path / "missing" / "faces.npy"):
        with pytest.raises(ValueError, match=r"was expected to be an \.npy file in a folder that exists"):
            load_faces(folder, memmap=wrong)


@pytest.mark.parametrize(
    "held", [b"", b"notes", b"PK\x03\x04 a zip", np.zeros((2, 4, 4, 1)), np.zeros(5, np.uint8), np.array([None])]
)
def test_memmap_replaces_nothing_but_images(folder, tmp_path, held):
    file = tmp_path / "mine.npy"
    if isinstance(held, bytes):
        file.write_bytes(held)
    else:
        np.save(file, held)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"mine\.npy' would replace a file that holds something else than images"):
        load_faces(folder, memmap=file)
    assert file.read_bytes() == before


def test_memmap_of_images_that_differ_leaves_nothing(folder, tmp_path):
    Image.new("L", (9, 8)).save(folder / NAMES[2])
    with pytest.raises(ValueError, match="2 sizes"):
        load_faces(folder, memmap=tmp_path / "faces.npy")
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


@pytest.mark.parametrize(
    ("size", "image_size", "expected"),
    [((8, 8), "auto", (8, 8)), ((96, 96), "auto", (64, 64)), ((9, 9), "auto", (64, 64)), ((8, 8), (4, 6), (4, 6))],
)
def test_image_size(tmp_path, size, image_size, expected):
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("L", size).save(tmp_path / name)
    faces = load_faces(tmp_path, image_size=image_size)
    assert faces.images.shape[1:3] == expected
    assert tuple(faces.preparation["image_size"]) == expected


def test_different_sizes_need_a_size(folder):
    Image.new("L", (12, 10)).save(folder / "happy" / "other.png")
    with pytest.raises(ValueError, match=r"have 2 sizes, mostly 8 x 8, but .*other.png is 10 x 12. Pass image_size=64"):
        load_faces(folder)
    assert load_faces(folder, image_size="auto").images.shape == (6, 64, 64, 1)


def test_unreadable_files_are_all_named(folder):
    (folder / "anger" / "broken.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"1 of 6 files cannot be read: .*broken.png \(not an image.*skip_unreadable"):
        load_faces(folder)


def test_unreadable_files_can_be_left_out(folder):
    (folder / "anger" / "S013_001_00000001.png").write_text("no picture")
    faces = load_faces(folder, subject=r"^(S\d+)", skip_unreadable=True)
    assert len(faces.images) == len(faces.target) == len(faces.subject) == len(faces.paths) == 5
    ((path, reason),) = faces.skipped
    assert path.endswith("S013_001_00000001.png")
    assert reason.startswith("not an image")


def test_nothing_readable_is_an_error_all_the_same(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_text("no picture")
    with pytest.raises(ValueError, match="1 of 1 files cannot be read"):
        load_faces(tmp_path, skip_unreadable=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subject": "^S010"}, r"subject='\^S010' was expected to match every file, but finds nothing in 2 of 5"),
        ({"label": "(x)?S"}, r"label='\(x\)\?S' was expected to match"),
        ({"clip": "("}, r"clip='\(' is no regular expression"),
        ({"classes": ["anger", "joy"]}, r"anger \(2\), happy \(2\), sadness \(1\); not found: joy"),
        ({"classes": []}, r"classes=\[\] was expected to hold labels"),
        ({"image_size": "big"}, "image_size='big' was expected to be a positive integer"),
        ({"image_size": 0}, "image_size=0 was expected"),
        ({"crop": "nose"}, "crop='nose' was expected to be 'face'"),
    ],
)
def test_wrong_settings_are_an_error(folder, settings, message):
    with pytest.raises(ValueError, match=message):
        load_faces(folder, **settings)


def test_files_outside_any_sub_folder_have_no_label(folder):
    Image.new("L", (8, 8)).save(folder / "stray.png")
    with pytest.raises(ValueError, match=r"no label is known for 1 of 6 files: stray.png. Sort the files"):
        load_faces(folder)


def test_missing_and_empty_folders_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder of images or a manifest"):
        load_faces(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no image was found"):
        load_faces(tmp_path)
    Image.new("L", (8, 8)).save(tmp_path / "subject01.happy", format="GIF")
    with pytest.raises(ValueError, match=r"sub-folders \(an image ends .* not as subject01.happy: pass such"):
        load_faces(tmp_path)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([("a.png", "x")], ("file", "label"), "a header with the column path"),
        ([], ("path", "label"), "0 rows"),
        (
            [("a.png", "x"), ("b.png", "")],
            ("path", "label"),
            r"no label is known for 1 of 2 files: b.png. Fill them in",
        ),
        ([("a.png", "x", "one")], ("path", "label", "frame"), "frame was expected to be an integer, but is 'one'"),
    ],
)
def test_wrong_manifest_is_an_error(tmp_path, rows, columns, message):
    manifest = write_manifest(tmp_path / "m.csv", rows, columns)
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        load_faces(manifest)


def test_gaps_in_the_subjects_are_an_error(folder):
    rows = [(NAMES[0], "a", "x"), (NAMES[1], "b", "")]
    with pytest.raises(ValueError, match="for every row of the manifest or for none"):
        load_faces(write_manifest(folder / "t.csv", rows, ("path", "label", "subject")))


def test_image_as_manifest_is_an_error(folder):
    with pytest.raises(ValueError, match="was expected to be a manifest, a CSV file in UTF-8"):
        load_faces(folder / NAMES[4])


def test_drawn_faces_written_and_read_are_the_same(tmp_path, tiny):
    drawn = make_faces(4, n_clips=1, n_frames=2, image_size=16, random_state=0)
    for image, target, subject, clip, frame in zip(
        drawn.images, drawn.target, drawn.subject, drawn.clip, drawn.frame, strict=True
    ):
        path = tmp_path / str(drawn.target_names[target]) / f"P{subject}_{clip:03d}_{frame}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    read = load_faces(tmp_path, subject=r"^P(\d+)", clip=r"_(\d+)_")
    order = np.lexsort((drawn.frame, drawn.clip, drawn.subject, drawn.target))
    np.testing.assert_array_equal(read.images, drawn.images[order])
    assert read.subject.astype(int).tolist() == drawn.subject[order].tolist()
    assert read.frame.tolist() == drawn.frame[order].tolist()
    assert set(drawn) - {"action_units", "action_unit_names"} <= set(read)
    scores = cross_val_score(
        tiny(max_steps=2), read.images, read.target, groups=read.subject, cv=GroupKFold(2), error_score="raise"
    )
    assert np.isfinite(scores).all()


def test_manifest_with_spaces_after_commas_is_understood(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    (tmp_path / "manifest.csv").write_text("path, label, subject\na.png, happy , S1\nb.png, sad, S2\n")
    faces = load_faces(tmp_path)
    assert faces.target_names.tolist() == ["happy", "sad"]
    assert faces.subject.tolist() == ["S1", "S2"]


@pytest.mark.parametrize("text", ["", 'path,label\n"a.png,' + 200_000 * "x"], ids=["empty", "unclosed quote"])
def test_broken_manifest_is_an_error(text, tmp_path):
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.csv was expected to"):
        load_faces(tmp_path)


def test_folders_of_people_are_no_labels(tmp_path):
    for person in ("S1", "S2"):
        (tmp_path / "happy" / person).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "happy" / person / "a.png")
    with pytest.raises(ValueError, match=r"every label is the name of a subject, such as S1"):
        load_faces(tmp_path, subject=r"/(S\d)/")
    assert load_faces(tmp_path, subject=r"/(S\d)/", label="^([^/]+)/").target_names.tolist() == ["happy"]


TABLES = {
    "semicolons": "path;label;subject\na.png;happy;S1\nb.png;sad;S2\n",
    "tabs": "path\tlabel\tsubject\na.png\thappy\tS1\nb.png\tsad\tS2\n",
    "capitals": "Path,LABEL,Subject\na.png,happy,S1\nb.png,sad,S2\n",
    "an index and an empty column": ",path,label,,subject\n0,a.png,happy,,S1\n1,b.png,sad,,S2\n",
    "empty rows": "path,label,subject\na.png,happy,S1\n,,\nb.png,sad,S2\n,,\n",
    "a status in capitals": "path,label,subject,status\na.png,happy,S1,OK\nb.png,sad,S2,Ok\n",
    "a byte order mark": "\ufeffpath;label;subject\na.png;happy;S1\nb.png;sad;S2\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_manifests_as_spreadsheets_write_them(name, tmp_path):
    for image in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / image)
    (tmp_path / "manifest.csv").write_text(TABLES[name], encoding="utf-8")
    faces = load_faces(tmp_path)
    assert faces.target_names.tolist() == ["happy", "sad"]
    assert faces.subject.tolist() == ["S1", "S2"]


def test_frames_with_a_point_are_whole_numbers(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    manifest = write_manifest(tmp_path / "m.csv", [("a.png", "x", "7.0")], ("path", "label", "frame"))
    assert load_faces(manifest).frame.tolist() == [7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,label\na.png,x,S1\n", "has several columns of the name label. Rename or remove"),
        ("path,label\na.png,x\n,y\n", r"has no path in 1 rows: line 3 \(y\)"),
        ("path,label\na\0.png,x\n", "line 2 holds a NUL byte"),
    ],
)
def test_tables_that_say_two_things_or_nothing_are_told(text, message, tmp_path):
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_faces(tmp_path)


def test_paths_of_windows_are_found(folder):
    rows = [(name.replace("/", "\\"), "x") for name in NAMES]
    assert len(load_faces(write_manifest(folder / "t.csv", rows, ("path", "label"))).images) == 5


def test_files_that_are_listed_twice_are_told(folder):
    rows = [(NAMES[0], "x"), (NAMES[0], "x"), (NAMES[1], "y")]
    with pytest.warns(UserWarning, match=rf"1 of 3 rows of .*t\.csv name a file again: {NAMES[0]}"):
        load_faces(write_manifest(folder / "t.csv", rows, ("path", "label")))


def test_labels_that_differ_in_capitals_are_told(folder):
    rows = [(NAMES[0], "anger"), (NAMES[1], "Anger"), (NAMES[2], "fear")]
    with pytest.warns(UserWarning, match="differ in capitals alone are classes of their own: Anger and anger"):
        load_faces(write_manifest(folder / "t.csv", rows, ("path", "label")))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_a_pipe_is_no_image(folder):
    os.mkfifo(folder / "anger" / "S010_004_00000019.png")
    with pytest.raises(ValueError, match="a pipe, not a file"):
        load_faces(folder, image_size="auto")


def test_frames_are_counted_within_clips_of_one_subject(tmp_path):
    lines = ["path,label,subject,clip"]
    for subject in ("S1", "S2"):
        for frame in range(2):
            name = f"{subject}_{frame}.png"
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
            lines.append(f"{name},{'joy' if frame else 'fear'},{subject},001")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    assert load_faces(tmp_path).frame.tolist() == [0, 1, 0, 1]
