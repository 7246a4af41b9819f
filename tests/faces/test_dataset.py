"""From files to a data set: a row for everything, resuming, fixes, and reading it back."""

import csv
import functools
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter1d

import flowexpr.faces.dataset as dataset
from flowexpr.datasets import load_faces
from flowexpr.faces import Face, Fix, Segment, Source, prepare_faces, read_boxes, read_fixes, read_segments
from flowexpr.faces.plan import FileNames
from flowexpr.faces.quality import quality_of
from flowexpr.faces.review import write_review

SEGMENTS = [
    Segment("portrait.mp4", 0.5, 1.0, "joy", "A", "c1"),
    Segment("portrait.mp4", 2.0, 2.5, "anger", "B", "c2"),
    Segment("portrait.mp4", 9.0, 9.5, "anger", "B", "c3"),
    Segment("other.mp4", 0, 1, "joy", "A", "c4"),
]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def copies(path, folder, n):
    """Return n copies of a file, for what takes every file once."""
    folder.mkdir()
    return [shutil.copy(path, folder / f"{number:02d}{path.suffix}").as_posix() for number in range(n)]


def of_kind(rows):
    return {row.source.rsplit("/", 1)[-1]: row.status for row in rows}


def test_every_file_has_a_row_whatever_it_is(photographs, tmp_path):
    names = ["good.png", "no_face.png", "empty.png", "text.jpg", "cut.jpg", "one.png", "missing.png", "good.jpg"]
    rows = prepare_faces([str(photographs / name) for name in names], tmp_path / "set")
    status = of_kind(rows)
    assert list(status) == names
    assert status["good.png"] == status["good.jpg"] == "ok"
    assert status["no_face.png"] == status["one.png"] == "no face found"
    assert all(status[name].startswith("unreadable: ") for name in ("empty.png", "text.jpg", "cut.jpg", "missing.png"))
    with open(tmp_path / "set" / "manifest.csv", newline="") as file:
        header = next(csv.reader(file))
    assert header[:7] == ["path", "label", "subject", "clip", "frame", "time", "box"]
    assert header[7:13] == ["landmarks", "detector_score", "blur", "brightness", "contrast", "status"]


def test_exactly_the_labelled_frames_are_written(portrait_video, tmp_path):
    rows = prepare_faces([str(portrait_video)], tmp_path / "set", segments=SEGMENTS)
    assert [(row.frame, row.label) for row in rows if row.status == "ok"] == [
        *((str(i), "joy") for i in range(5, 10)),
        *((str(i), "anger") for i in range(20, 25)),
    ]
    assert "no frame from second 9 to 9.5" in rows[10].status
    assert rows[11].status == "no such video among the inputs"
    faces = load_faces(tmp_path / "set")
    assert faces.images.shape == (10, 64, 64, 3)
    assert faces.subject.tolist() == ["A"] * 5 + ["B"] * 5
    assert faces.frame.tolist() == [*range(5, 10), *range(20, 25)]
    assert len(faces.skipped) == 2
    assert faces.preparation["crop"] == "face"


@pytest.mark.parametrize(
    ("start", "end", "in_frames", "n_crops", "status"),
    [
        (3.8, 60, False, 2, "no frame after second 3.900, the video's last, to 60"),
        (38, 60, True, 2, "no frame after frame 39.000, the video's last, to 60"),
        (100, np.inf, False, 0, "no frame from second 100 to inf: the video's last is at second 3.900"),
        (3.8, 4.0, False, 2, None),
        (38, 40, True, 2, None),
        (3.8, np.inf, False, 2, None),
    ],
)
def test_segment_beyond_the_end_has_a_row_that_says_so(
    portrait_video, tmp_path, start, end, in_frames, n_crops, status
):
    segments = [Segment("portrait.mp4", start, end, "joy")]
    settings = {"in_frames": in_frames, "detector": "none"}
    rows = prepare_faces([str(portrait_video)], tmp_path / "set", segments=segments, **settings)
    assert [row.status for row in rows] == ["ok"] * n_crops + [status] * (status is not None)


def test_segments_in_frames_and_at_a_rate(portrait_video, tmp_path):
    segments = [Segment("portrait.mp4", 10, 31, "joy", "A", "c")]
    rows = prepare_faces([str(portrait_video)], tmp_path / "set", segments=segments, in_frames=True, rate=2)
    assert [row.frame for row in rows] == ["10", "15", "20", "25", "30"]


def test_killed_run_goes_on_to_the_same_result(photographs, portrait_video, tmp_path, monkeypatch):
    photos = [Source(str(photographs / name), "joy", "A", "c0") for name in ("good.png", "good.jpg")]
    sources = [photos[0], str(portrait_video), photos[1]]
    segments = SEGMENTS[:2]
    prepare_faces(sources, tmp_path / "whole", segments=segments)
    keep, kept = dataset._keep, []

    def killed(unit, *rest):
        if kept:
            (tmp_path / "killed" / "faces" / unit.name).mkdir(parents=True)
            (tmp_path / "killed" / "faces" / unit.name / "half.png").write_bytes(b"half")
            raise KeyboardInterrupt
        kept.append(unit)
        keep(unit, *rest)

    monkeypatch.setattr(dataset, "_keep", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare_faces(sources, tmp_path / "killed", segments=segments)
    with pytest.raises(ValueError, match="preparation was not finished"):
        load_faces(tmp_path / "killed")
    monkeypatch.setattr(dataset, "_keep", keep)
    prepare_faces(sources, tmp_path / "killed", segments=segments)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_killed_with_no_warning_it_goes_on_to_the_same_result(photographs, portrait_video, tmp_path):
    videos = copies(portrait_video, tmp_path / "videos", 2)
    sources = [str(photographs / "good.png"), videos[0], str(photographs / "good.jpg"), videos[1]]
    prepare_faces(sources, tmp_path / "whole", rate=5)
    program = (
        "import sys; from flowexpr.faces import prepare_faces; "
        f"prepare_faces({sources!r}, {str(tmp_path / 'killed')!r}, rate=5)"
    )
    killed = tmp_path / "killed"
    for n_files in (1, 2, 8, 25, 31):  # where it is killed: that many files, half-written ones too
        with subprocess.Popen([sys.executable, "-c", program]) as run:
            # os.walk passes over a folder that is gone by the time it is read
            while run.poll() is None and sum(len(files) for _, _, files in os.walk(killed)) < n_files:
                time.sleep(0.002)
            run.kill()
        if not (killed / "manifest.csv").is_file():
            with pytest.raises(ValueError, match=r"not finished|no image was found"):
                load_faces(killed)
    prepare_faces(sources, killed, rate=5)
    assert contents(killed) == contents(tmp_path / "whole")


def test_what_other_settings_left_is_not_taken_for_these(photographs, tmp_path, monkeypatch):
    source = [str(photographs / "good.png")]
    prepare_faces(source, tmp_path / "set")
    first = contents(tmp_path / "set")
    keep = dataset._keep

    def killed(*arguments):
        keep(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "_keep", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare_faces(source, tmp_path / "set", margin=0.5)
    monkeypatch.setattr(dataset, "_keep", keep)
    prepare_faces(source, tmp_path / "set")
    assert contents(tmp_path / "set") == first


def test_killed_before_anything_stands_it_begins_again(photographs, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / ".prepare.json.77.partial").write_text("{")
    (tmp_path / "set" / ".ab12.partial" / "00000").mkdir(parents=True)
    prepare_faces([str(photographs / "good.png")], tmp_path / "set")
    assert not list((tmp_path / "set").glob(".*.partial"))


@pytest.mark.slow
def test_workers_give_the_same_result(photographs, portrait_video, tmp_path):
    sources = [str(photographs / "good.png"), str(portrait_video)]
    prepare_faces(sources, tmp_path / "one", rate=5)
    prepare_faces(sources, tmp_path / "two", rate=5, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.slow
def test_workers_of_an_earlier_run_find_files_by_relative_paths(photographs, tmp_path, monkeypatch):
    for name in ("good.png", "good.jpg"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        shutil.copy(photographs / name, folder)
        monkeypatch.chdir(folder)
        assert [row.status for row in prepare_faces([name], "set", detector="none", workers=2)] == ["ok"]


def test_full_disk_is_told_and_what_is_finished_is_kept(photographs, tmp_path, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dataset, "write_atomically", full)
    with pytest.raises(OSError, match=r"is full. What is finished is kept: make room and run the same command again"):
        prepare_faces([str(photographs / "good.png")], tmp_path / "set")


def test_full_disk_while_crops_are_written_loses_nothing(photographs, tmp_path, monkeypatch):
    import errno

    sources = copies(photographs / "good.png", tmp_path / "photographs", 65)  # two units
    prepare_faces(sources, tmp_path / "whole", detector="none")
    write, written = Path.write_bytes, []

    def full(path, content):
        written.append(path)
        if len(written) > 64:
            write(path, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="make room and run the same command again"):
        prepare_faces(sources, tmp_path / "set", detector="none")
    written.clear()
    prepare_faces(sources, tmp_path / "set", detector="none")
    assert len(written) == 1  # the other 64 were kept
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_segment_of_a_video_that_may_be_several_is_refused(portrait_video, tmp_path):
    (tmp_path / "a").mkdir()
    other = tmp_path / "a" / portrait_video.name
    other.write_bytes(portrait_video.read_bytes())
    with pytest.raises(ValueError, match=r"segments name the video portrait\.mp4, .* may be any of"):
        prepare_faces([str(portrait_video), str(other)], tmp_path / "set", segments=SEGMENTS[:1])


def test_a_file_given_again_is_taken_once(photographs, portrait_video, tmp_path, monkeypatch):
    monkeypatch.chdir(photographs)
    (tmp_path / "link.mp4").symlink_to(portrait_video)
    image, video = Source("good.png", subject="A"), Source(str(portrait_video))
    again = [Source("./good.png", "joy"), str(photographs / "good.png"), str(tmp_path / "link.mp4"), video]
    settings = {"segments": [Segment("portrait.mp4", 0, 0.2, "joy", "A", "c")], "detector": "none"}
    rows = prepare_faces([video, image, *again], tmp_path / "set", **(settings | {"segments": None}), rate=1)
    assert [row.source for row in rows] == [str(portrait_video)] * 4 + ["good.png"]
    assert (rows[-1].label, rows[-1].subject) == ("joy", "A")
    assert len(prepare_faces([video, video], tmp_path / "other", **settings)) == 2


def test_a_file_given_again_as_another_is_refused(photographs, tmp_path):
    path = str(photographs / "good.png")
    with pytest.raises(ValueError, match=r"good\.png was .* the same file as .*another label \(anger instead of joy\)"):
        prepare_faces([Source(path, "joy"), Source(path, "anger")], tmp_path / "set")


def test_folder_of_other_things_is_refused(photographs, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds other things"):
        prepare_faces([str(photographs / "good.png")], tmp_path)


def test_review_is_sorted_by_doubt_and_its_fixes_are_applied(photographs, tmp_path):
    sources = [Source(str(photographs / name), "joy", "A") for name in ("good.png", "no_face.png", "good.jpg")]
    rows = prepare_faces(sources, tmp_path / "set")
    page, table = write_review(rows, tmp_path / "set")
    text = page.read_text(encoding="utf-8")
    assert "no face found" in text
    assert text.count("<figure") == 2
    with open(table, newline="") as file:
        edited = list(csv.DictReader(file))
    assert edited[0]["status"] == "no face found"
    edited[0]["new_box"] = "40 50 120 130"
    edited[1]["drop"] = "x"
    edited[2]["new_label"] = "anger"
    with open(table, "w", newline="") as file:
        writer = csv.DictWriter(file, edited[0])
        writer.writeheader()
        writer.writerows(edited)
    fixed = {row.source: row for row in prepare_faces(sources, tmp_path / "set", fixes=read_fixes(table))}
    assert fixed[edited[0]["source"]].status == "ok"
    assert fixed[edited[0]["source"]].box == "40.0 50.0 120.0 130.0"
    assert fixed[edited[1]["source"]].status == "dropped by hand"
    assert fixed[edited[2]["source"]].label == "anger"


def test_fixes_of_a_frame_in_two_segments_are_put_together(tmp_path):
    table = tmp_path / "fix.csv"
    table.write_text("source,frame,drop,new_box,new_label\na.mp4,3,x,,\na.mp4,3,,,joy\na.mp4,4,,,\n")
    assert read_fixes(table) == {("a.mp4", 3): Fix(drop=True, label="joy")}


def test_a_new_box_outside_the_picture_costs_its_row_alone(photographs, tmp_path):
    sources = [str(photographs / name) for name in ("good.png", "good.jpg")]
    far = Fix(box=(5000.0, 5000.0, 5100.0, 5100.0))
    rows = prepare_faces(sources, tmp_path / "set", fixes={(sources[0], None): far})
    assert "lies outside the picture" in rows[0].status
    assert rows[1].status == "ok"


SCALE = """
import threading
LOCK, WIDTH = threading.Lock(), {value}
def make(side=50):
    def box(image, *, left=10):
        return [[left, 10, left + width(), 10 + side]], None
    def width():
        with LOCK: return WIDTH
    return box
"""


def of_source(source, **names):
    exec(source, names)
    return names["make"]()


@pytest.mark.parametrize(
    "make",
    [
        lambda value: lambda _, right=value: ([[10, 10, right, 60]], None),
        lambda value: lambda _: ([[10, 10, value, 60]], None),
        lambda value: eval(f"lambda image: ([[10, 10, {value}, 60]], None)"),
        lambda value: functools.partial(lambda right, _: ([[10, 10, right, 60]], None), value),
        lambda value: of_source(SCALE.format(value=value - 10)),
    ],
    ids=["default", "closure", "constant", "partial", "global beside what cannot be pickled"],
)
def test_another_function_finds_anew(photographs, tmp_path, make, monkeypatch):
    source = str(photographs / "good.png")
    for right in (60, 70):
        rows = prepare_faces([source], tmp_path / "set", detector=make(right), image_size=np.int64(32))
        assert rows[0].box.split()[2] == f"{right:.1f}"
    monkeypatch.setattr(dataset, "_keep", None)  # nothing is made again for the same function
    assert prepare_faces([source], tmp_path / "set", detector=make(70), image_size=32) == rows


def test_another_network_of_the_same_name_finds_anew(photographs, tmp_path, monkeypatch):
    cv2 = pytest.importorskip("cv2")

    class Network:
        def __init__(self, path, *_):
            self.left = float(Path(path).read_text())

        def setInputSize(self, size):
            pass

        def detect(self, image):
            return 1, np.array([[self.left, 10, 50, 50, 30, 30, 50, 30, *[0] * 6, 0.9]], np.float32)

    monkeypatch.setattr(cv2, "FaceDetectorYN", SimpleNamespace(create=Network), raising=False)
    lefts = []
    for folder, left in (("a", "10"), ("a", "20"), ("b", "30")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "yunet.onnx").write_text(left)
        monkeypatch.chdir(tmp_path / folder)
        (row,) = prepare_faces([str(photographs / "good.png")], tmp_path / "set", detector="yunet.onnx")
        lefts.append(row.box.split()[0])
    assert lefts == ["10.0", "20.0", "30.0"]


def test_detectors_that_cannot_be_hashed_are_taken(photographs, tmp_path):
    @dataclass
    class Fixed:
        side: int = 50

        def __call__(self, image):
            return [[10, 10, 10 + self.side, 10 + self.side]], None

    assert prepare_faces([str(photographs / "good.png")], tmp_path / "set", detector=Fixed())[0].status == "ok"


def test_fixes_of_nothing_are_told(photographs, tmp_path):
    source = str(photographs / "good.png")
    with pytest.warns(UserWarning, match=r"1 fixes are of nothing in the data set, .*good\.png frame 9999"):
        prepare_faces([source], tmp_path / "set", fixes={(source, 9999): Fix(drop=True)})


@pytest.mark.parametrize(
    ("fix", "status"), [(Fix(drop=True), "dropped by hand"), (Fix(label="fear"), "(unreadable: |no ).*")]
)
def test_fixes_of_what_has_no_crop_are_applied(photographs, tmp_path, fix, status):
    (tmp_path / "damaged.mp4").touch()
    (tmp_path / "unnamed.mp4").touch()
    paths = [photographs / "good.png", photographs / "empty.png", tmp_path / "damaged.mp4", tmp_path / "unnamed.mp4"]
    sources = [Source(str(path), "joy") for path in paths]
    segments = [Segment(name, 0, 1, "joy") for name in ("damaged.mp4", "missing.mp4")]
    names = [*map(str, paths[1:]), "missing.mp4"]
    settings = {"segments": segments, "fixes": {(name, None): fix for name in names}, "detector": "none"}
    rows = prepare_faces(sources, tmp_path / "set", **settings)
    made = contents(tmp_path / "set")
    assert prepare_faces(sources, tmp_path / "set", **settings) == rows
    assert contents(tmp_path / "set") == made
    assert rows[0].status == "ok"
    assert [row.source for row in rows[1:]] == [names[0], names[1], names[1], *names[2:]]
    assert all(re.fullmatch(status, row.status) for row in rows[1:])
    assert not fix.label or {row.label for row in rows[1:]} == {"fear"}


def test_fixes_of_other_files_are_refused(photographs, tmp_path):
    with pytest.raises(ValueError, match="fixes were expected to be of the inputs"):
        prepare_faces([str(photographs / "good.png")], tmp_path / "set", fixes={("x.png", None): Fix(drop=True)})


def test_boxes_are_of_the_file_that_they_name(photographs, tmp_path):
    (photographs / "more").mkdir()
    shutil.copy(photographs / "good.png", photographs / "more" / "good.png")
    sources = [str(photographs / "good.png"), str(photographs / "more" / "good.png")]
    boxes = {("more/good.png", None): Face((10, 10, 50, 50))}
    rows = prepare_faces(sources, tmp_path / "set", boxes=boxes)
    assert [row.status for row in rows] == ["no box in the table", "ok"]
    with pytest.raises(
        ValueError, match=r"boxes name good\.png, which was expected to be one of the inputs, but may be"
    ):
        prepare_faces(sources, tmp_path / "set", boxes={("good.png", None): Face((10, 10, 50, 50))})
    with pytest.warns(UserWarning, match=r"boxes name 1 files that are no inputs: other\.png"):
        prepare_faces(sources, tmp_path / "set", boxes=boxes | {("other.png", None): Face((0, 0, 9, 9))})


def test_boxes_of_a_table_are_used(photographs, tmp_path):
    boxes = {("no_face.png", None): Face((10, 10, 50, 50))}
    sources = [str(photographs / name) for name in ("good.png", "no_face.png")]
    rows = prepare_faces(sources, tmp_path / "set", boxes=boxes)
    assert [row.status for row in rows] == ["no box in the table", "ok"]


def test_near_duplicates_are_flagged(photographs, tmp_path):
    rows = prepare_faces(copies(photographs / "good.png", tmp_path / "photographs", 2), tmp_path / "set")
    assert rows[0].flags == ""
    assert rows[1].flags == "near-duplicate"


def test_callable_detector_and_none(drawn, tmp_path):
    from PIL import Image

    Image.fromarray(drawn.images[0]).save(tmp_path / "face.png")
    rows = prepare_faces([str(tmp_path / "face.png")], tmp_path / "a", detector="none", margin=0.0)
    made = np.asarray(Image.open(tmp_path / "a" / rows[0].path))
    np.testing.assert_array_equal(made, drawn.images[0])
    mine = prepare_faces([str(tmp_path / "face.png")], tmp_path / "b", detector=lambda image: ([[0, 0, 64, 64]], None))
    assert mine[0].box == "0.0 0.0 64.0 64.0"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 0}, "image_size="),
        ({"margin": -1}, "margin=-1 was expected"),
        ({"person": "me"}, "person='me' was expected to be one of nearest"),
        ({"rate": 0}, "rate=0 was expected"),
        ({"workers": 0}, "workers=0 was expected"),
    ],
)
def test_wrong_parameters_are_told(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        prepare_faces([], tmp_path / "set", **fields)


class TestTables:
    """Tables that people write."""

    def test_segments_are_read(self, tmp_path):
        (tmp_path / "s.csv").write_text("video,start,end,label\na.mp4,1,2.5,joy\na.mp4,3,4,anger\n")
        assert read_segments(tmp_path / "s.csv") == [
            Segment("a.mp4", 1, 2.5, "joy", "", "a_1"),
            Segment("a.mp4", 3, 4, "anger", "", "a_2"),
        ]

    def test_clips_of_videos_of_one_name_are_told_apart(self, tmp_path):
        (tmp_path / "s.csv").write_text("video,start,end,label\ns1/v.mp4,0,1,joy\ns2/v.mp4,0,1,joy\ns1/v.avi,0,1,joy\n")
        assert [segment.clip for segment in read_segments(tmp_path / "s.csv")] == ["s1/v_1", "s2/v_1", "s1/v_2"]

    @pytest.mark.parametrize("row", ["a.mp4,2,1,joy", "a.mp4,x,1,joy", ",0,1,joy", "a.mp4,0,1,"])
    def test_wrong_segments_are_named(self, tmp_path, row):
        (tmp_path / "s.csv").write_text(f"video,start,end,label\na.mp4,0,1,joy\n{row}\n")
        with pytest.raises(ValueError, match="1 rows have not: line 3"):
            read_segments(tmp_path / "s.csv")

    def test_more_cells_than_columns_are_refused(self, tmp_path):
        (tmp_path / "s.csv").write_text("video,start,end,label\na.mp4,0,1,joy,\na.mp4,0,1,5,joy\n")
        with pytest.raises(ValueError, match=r"4 cells in a row.* 1 rows have more: line 3 \(a\.mp4, 0, 1, 5, joy\)"):
            read_segments(tmp_path / "s.csv")

    def test_boxes_and_eyes_are_read(self, tmp_path):
        (tmp_path / "b.csv").write_text(
            "path,frame,left,top,right,bottom,left_x,left_y,right_x,right_y\n"
            "a.png,,1,2,11,12,,,,\nb.mp4,7,,,,,10,20,30,20\n"
        )
        boxes = read_boxes(tmp_path / "b.csv")
        assert boxes["a.png", None].box == (1, 2, 11, 12)
        assert boxes["b.mp4", 7].eyes == ((10, 20), (30, 20))

    def test_wrong_fix_is_named(self, tmp_path):
        (tmp_path / "f.csv").write_text("source,frame,drop,new_box,new_label\na.png,,maybe,,\n")
        with pytest.raises(ValueError, match="line 2"):
            read_fixes(tmp_path / "f.csv")


def test_a_run_that_replaces_other_inputs_or_fixes_says_so(photographs, tmp_path):
    sources = [Source(str(photographs / name), "joy", "A") for name in ("good.png", "good.jpg")]
    prepare_faces(sources, tmp_path / "set")
    prepare_faces(sources, tmp_path / "set", fixes={(sources[0].path, None): Fix(drop=True)})
    with pytest.warns(UserWarning, match=r"1 rows of .*set were changed by hand, which this run undoes"):
        prepare_faces(sources, tmp_path / "set")
    with pytest.warns(UserWarning, match=r"held crops of 1 sources that are no inputs of this run, such as .*good.png"):
        rows = prepare_faces(sources[1:], tmp_path / "set")
    assert len(rows) == 1


def test_one_path_is_one_source(photographs, tmp_path):
    (row,) = prepare_faces(str(photographs / "good.png"), tmp_path / "set")
    assert row.status == "ok"


@pytest.mark.parametrize("called", ["a.mp4", "./a.mp4", ".//a.mp4"])
def test_a_whole_path_names_its_file_and_no_other(called):
    named = FileNames([Source("sub/a.mp4"), Source("a.mp4"), Source("sub/b.mp4")])
    assert named.find(called, "") == "a.mp4"
    assert named.find("b.mp4", "") == named.find("sub\\b.mp4", "") == named.find("sub//b.mp4", "") == "sub/b.mp4"
    assert named.find("c.mp4", "") is None
    with pytest.raises(ValueError, match=r"segments name the video d.mp4, .* any of x/d.mp4, y/d.mp4"):
        FileNames([Source("x/d.mp4"), Source("y/d.mp4")]).find("d.mp4", "segments name the video")


def test_crops_that_are_gone_are_made_again(tmp_path):
    Image.new("L", (64, 64), 90).save(tmp_path / "a.png")
    sources = [Source(str(tmp_path / "a.png"), "joy")]
    for _ in range(2):
        (row,) = prepare_faces(sources, tmp_path / "set", detector="none")
        assert (tmp_path / "set" / row.path).is_file()
        shutil.rmtree(tmp_path / "set" / "faces")


def test_faces_cut_by_boxes_are_faces_without_a_detector(tmp_path):
    sources, boxes = [], {}
    for name, label in (("a", "joy"), ("b", "fear")):
        Image.new("L", (64, 64), 90).save(tmp_path / f"{name}.png")
        sources.append(Source(str(tmp_path / f"{name}.png"), label))
        boxes[f"{name}.png", None] = Face((10, 10, 40, 40))
    prepare_faces(sources, tmp_path / "set", detector="none", boxes=boxes)
    assert load_faces(tmp_path / "set").preparation["crop"] == "face"
    prepare_faces(sources, tmp_path / "whole", detector="none")
    assert load_faces(tmp_path / "whole").preparation["crop"] is None


def test_a_clip_of_its_own_is_no_other_segments(tmp_path):
    table = tmp_path / "s.csv"
    table.write_text("video,start,end,label,clip\na.mp4,0,1,joy,a_2\na.mp4,1,2,fear,\na.mp4,2,3,joy,\n")
    assert [segment.clip for segment in read_segments(table)] == ["a_2", "a_3", "a_4"]


def test_two_faces_of_one_frame_are_refused(tmp_path):
    table = tmp_path / "b.csv"
    table.write_text("path,frame,left,top,right,bottom\na.mp4,3,0,0,9,9\na.mp4,3,5,5,30,30\na.mp4,4,0,0,9,9\n")
    with pytest.raises(ValueError, match=r"one face a frame, but holds several of a.mp4, frame 3\."):
        read_boxes(table)


def test_a_picture_that_is_sharp_one_way_alone_is_blurred():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(float)
    sharp = quality_of(noise.astype(np.uint8))
    streaks = quality_of(gaussian_filter1d(noise, 6, axis=1).astype(np.uint8))
    assert "blurred" not in sharp.flags()
    assert "blurred" in streaks.flags()
