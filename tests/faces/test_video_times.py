"""Frames and times of videos that begin late, store frames in another order, or are cut by an edit list."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from flowexpr.faces import FacePreparation, Segment, prepare_faces, read_frames
from flowexpr.faces.pictures import read_pictures

av = pytest.importorskip("av")

EVEN = [40 * i for i in range(20)]
UNEVEN = [0, 40, 80, 500, 540, 600, 640, 700, 1500, 1540]
LEVEL, STEP = 10, 12
"""Brightness of the first frame, and by how much the next is brighter."""


def write(path, codec, milliseconds, late=0, between=0):
    """Write a video whose frames are as bright as their number, `between` of them stored after a later one."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 64, "yuv420p", 2_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.max_b_frames = between
        for i, time in enumerate(milliseconds):
            pixels = np.full((64, 64, 3), LEVEL + STEP * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time + late, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def number_of(brightness):
    return round((float(np.mean(brightness)) - LEVEL) / STEP)


def cut(path, start, length):
    """Let an MP4 file show `length` milliseconds from `start` on; what is stored stays."""
    content = bytearray(path.read_bytes())
    place = content.rindex(b"elst") + 4
    with av.open(str(path)) as container:
        ticks = int(1 / container.streams.video[0].time_base) // 1000
    version_and_count, _, media_time = struct.unpack(">QIi", content[place : place + 16])
    assert version_and_count == 1
    content[place + 8 : place + 16] = struct.pack(">Ii", length, media_time + start * ticks)
    path.write_bytes(content)


VIDEOS = [
    ("mpeg4.mp4", "mpeg4", EVEN, 0, 2),
    ("late.mp4", "libx264", EVEN, 700, 3),
    ("uneven.mp4", "libx264", UNEVEN, 0, 3),
    ("uneven.flv", "flv", UNEVEN, 0, 0),
    ("late.flv", "libx264", UNEVEN, 700, 3),
    ("uneven.mkv", "libx264", UNEVEN, 300, 3),
]


@pytest.mark.parametrize(("name", "codec", "times", "late", "between"), VIDEOS, ids=[video[0] for video in VIDEOS])
def test_labelled_frames_are_written_however_they_are_stored(tmp_path, name, codec, times, late, between):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = write(tmp_path / name, codec, times, late, between)
    in_seconds, in_frames = Segment(name, times[3] / 1000, times[7] / 1000, "joy"), Segment(name, 2, 6, "joy")
    rows = prepare_faces([str(path)], tmp_path / "set", segments=[in_seconds], detector="none")
    assert [(row.frame, row.time, row.status) for row in rows] == [
        (str(i), f"{times[i] / 1000:.3f}", "ok") for i in range(3, 7)
    ]
    rows = prepare_faces([str(path)], tmp_path / "set", segments=[in_frames], in_frames=True, detector="none")
    assert [(row.frame, row.status) for row in rows] == [(str(i), "ok") for i in range(2, 6)]
    assert [number_of(float(row.brightness)) for row in rows] == [2, 3, 4, 5]
    seen = list(read_pictures([str(path)], FacePreparation(), detector="none"))
    assert [(item.frame, round(1000 * item.time), number_of(item.pixels)) for item in seen] == [
        (i, time, i) for i, time in enumerate(times)
    ]


def test_what_an_edit_list_leaves_out_is_not_there(tmp_path):
    path = write(tmp_path / "cut.mp4", "mpeg4", EVEN, 0, 2)
    cut(path, 200, 400)
    frames = [(frame.index, round(1000 * frame.time), number_of(frame.colour())) for frame in read_frames(path)]
    assert frames == [(i, 40 * i, 5 + i) for i in range(10)]
