"""Frames and times of a video, and one person followed through it."""

import numpy as np
import pytest

from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces import Face, find_faces, make_detector, read_frames, track_face


def test_every_frame_comes_with_its_time(portrait_video):
    frames = [
        (frame.index, frame.time, frame.grey().shape, frame.colour().shape) for frame in read_frames(portrait_video)
    ]
    assert [index for index, *_ in frames] == list(range(40))
    np.testing.assert_allclose([time for _, time, *_ in frames], np.arange(40) / 10, atol=1e-6)
    assert frames[0][2:] == ((304, 400), (304, 400, 3))


@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4", "text.mp4", "folder.mp4"])
def test_what_is_no_video_says_so(tmp_path, name):
    pytest.importorskip("av")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video" * 100)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UnreadableImageError):
        list(read_frames(tmp_path / name))


def test_face_is_followed_with_smooth_boxes(portrait_video):
    calls = []

    def counting(image):
        calls.append(1)
        faces = find_faces(image)
        return [face.box for face in faces], [face.eyes for face in faces], [face.score for face in faces]

    tracked = list(track_face(read_frames(portrait_video), counting))
    assert len(tracked) == 40
    assert all(item.face is not None for item in tracked)
    assert not any(item.jumped for item in tracked)
    assert len(calls) < 8
    x = np.array([item.face.centre[0] for item in tracked])
    moved = 3 * np.minimum(np.arange(40), 40 - np.arange(40))
    assert np.abs((x - x[0]) - (moved - moved[0]))[2:18].max() < 8


@pytest.mark.parametrize("elsewhere", [False, True])
def test_eyes_that_a_detector_finds_once_are_followed_unless_the_face_is_elsewhere(portrait_video, elsewhere):
    n_calls = 0

    def eyes_at_first(image):
        nonlocal n_calls
        n_calls += 1
        (face, *_) = find_faces(image)
        left, top, right, bottom = face.box
        if n_calls == 1:
            return [face.box], [face.eyes]
        away = -left if elsewhere else 0.0
        return [(left + away, top, right + away, bottom)], None

    tracked = list(track_face(read_frames(portrait_video), eyes_at_first))
    assert n_calls > 1
    assert all(item.face.eyes is not None for item in tracked) == (not elsewhere)
    assert any(item.jumped for item in tracked) == elsewhere


class Frame:
    """A flat picture, as bright as its number."""

    def __init__(self, index, time):
        self.index, self.time = index, time

    def grey(self):
        return np.full((60, 300), self.index, np.uint8)


@pytest.mark.parametrize(("apart", "blurred"), [(1.0, False), (1 / 25, True)])
def test_boxes_are_smoothed_over_neighbours_in_time_alone(apart, blurred):
    boxes = [[10 + 6 * (i % 2), 10, 50 + 6 * (i % 2), 50] for i in range(12)]
    frames = [Frame(i, i * apart) for i in range(12)]
    tracked = list(track_face(frames, lambda image: ([boxes[image[0, 0]]], None)))
    off = max(abs(item.face.box[0] - box[0]) for item, box in zip(tracked, boxes, strict=True))
    assert (off > 1) == blurred
    assert blurred or off < 0.01


def test_jump_to_another_place_is_told():
    boxes = [[10, 10, 50, 50]] * 4 + [[200, 10, 240, 50]] * 4
    frames = [Frame(i, i / 10) for i in range(8)]
    tracked = list(track_face(frames, lambda image: ([boxes[image[0, 0]]], None)))
    assert [item.jumped for item in tracked] == [False] * 4 + [True] + [False] * 3
    assert [round(item.face.box[0]) for item in tracked] == [10] * 4 + [200] * 4  # smoothing does not reach across


@pytest.mark.parametrize(("choice", "left"), [("largest", 0), ("central", 120), ("nearest", 200)])
def test_person_is_chosen(choice, left):
    from flowexpr.faces.tracking import choose_face

    faces = [Face((0, 0, 90, 90)), Face((120, 100, 160, 140)), Face((200, 10, 230, 40))]
    last = Face((205, 12, 235, 42))
    assert choose_face(faces, choice, (240, 280), last).box[0] == left


def test_end_of_a_damaged_video_is_told_after_the_good_frames(tmp_path, portrait_video):
    damaged = bytearray(portrait_video.read_bytes())
    path = tmp_path / "cut.mp4"
    path.write_bytes(damaged[: len(damaged) // 2])
    with pytest.raises(UnreadableImageError):
        list(track_face(read_frames(path), make_detector("none")))


def test_odd_sizes_and_one_frame(tmp_path, write_video):
    path = write_video(tmp_path / "one.mp4", [np.full((50, 38, 3), 80, np.uint8)])
    assert [frame.grey().shape for frame in read_frames(path)] == [(50, 38)]


@pytest.mark.parametrize("n_whole", [1, 2, 5])
def test_every_frame_before_a_break_is_there(n_whole, portrait_video):
    def broken():
        for frame, _ in zip(read_frames(portrait_video), range(n_whole), strict=False):
            yield frame
        raise UnreadableImageError("it breaks off")

    seen = track_face(broken(), lambda grey: (np.array([[10.0, 10.0, 60.0, 60.0]]), None))
    assert [next(seen).frame.index for _ in range(n_whole)] == list(range(n_whole))
    with pytest.raises(UnreadableImageError, match="it breaks off"):
        next(seen)


def test_tags_need_not_be_utf_8(tmp_path, write_video):
    path = write_video(tmp_path / "tagged.mp4", [np.full((32, 32, 3), 80, np.uint8)] * 3, title="CAFE")
    path.write_bytes(path.read_bytes().replace(b"CAFE", b"CAF\xe9"))
    assert len(list(read_frames(path))) == 3
