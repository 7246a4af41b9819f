"""From one file to its crops: pictures that are crops already, and the frames that a segment asks for."""

import numpy as np
import pytest
from PIL import Image

from flowexpr.faces import FacePreparation, Segment, prepare_faces
from flowexpr.faces.cropping import _Wanted


class Frame:
    """A frame of which only the time is known."""

    def __init__(self, index, time):
        self.index, self.time, self.damage = index, time, ""


def frames_of(times, segments, **settings):
    """Return the numbers of the frames that each segment asks for, and why others have none."""
    wanted = _Wanted(segments, settings.get("rate"), settings.get("in_frames", False))
    list(wanted.of(Frame(i, time) for i, time in enumerate(times)))
    asked = wanted.segments_of.items()
    return [[i for i, numbers in asked if n in numbers] for n in range(len(segments))], [*wanted.missed()]


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3), (40, 90, 3)])
def test_cropped_faces_are_only_resized(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    (row,) = prepare_faces([str(tmp_path / "face.png")], tmp_path / "set", detector="none")
    made = np.asarray(Image.open(tmp_path / "set" / row.path))
    expected = FacePreparation((64, 64)).read(tmp_path / "face.png")
    np.testing.assert_array_equal(made.reshape(expected.shape), expected)


def test_rounded_times_do_not_move_a_boundary():
    first = 3.7
    tenths = [3.7 + i / 10 - first for i in range(12)]
    asked, _ = frames_of(tenths, [Segment("v", 0.3, 0.6, "a"), Segment("v", 0.6, 0.9, "b")])
    assert asked == [[3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_milliseconds_of_matroska_do_not_move_a_boundary(first):
    times = [round((first + i) / 30, 3) - round(first / 30, 3) for i in range(30)]
    asked, _ = frames_of(times, [Segment("v", 0.033333, 0.333333, "a"), Segment("v", 2 / 30, 0.4, "b")])
    assert asked == [list(range(1, 10)), list(range(2, 12))]


def test_segment_between_two_frames_says_nothing_of_the_videos_end():
    times = [i / 10 for i in range(10)]
    segments = [Segment("v", 0.01, 0.03, "a"), Segment("v", 2, 3, "b")]
    assert [reason for _, reason in frames_of(times, segments)[1]] == [
        "no frame from second 0.01 to 0.03",
        "no frame from second 2 to 3: the video's last is at second 0.900",
    ]


def test_frames_are_taken_at_the_rate_without_drift():
    wanted = _Wanted(None, 12, False)
    assert sum(wanted._due(0, i / 30) for i in range(300)) == 120
