"""Every kind of input that is not what it should be: its row says so, or its face is there, and the run goes on."""

import os
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from flowexpr.cli import main
from flowexpr.faces import Segment, find_images, prepare_faces, read_frames, read_image


def prepared(path, tmp_path, **settings):
    """Prepare a file between two good ones, and return the rows of the file in the middle."""
    good = [tmp_path / "good.png", tmp_path / "good too.png"]
    for file in good:
        Image.new("L", (64, 64), 90).save(file)
    settings = {"detector": "none", **settings}
    rows = prepare_faces([str(good[0]), str(path), str(good[1])], tmp_path / "set", **settings)
    if settings["detector"] == "none":
        assert rows[0].status == rows[-1].status == "ok"
    return rows[1:-1]


def huge_png():
    """Return a PNG file of a gigapixel, of which there is but the header."""
    header = struct.pack(">IIBBBBB", 40_000, 30_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "unreadable: not an image"),
        ("empty.mp4", b"", "unreadable: not a video, or damaged"),
        ("text.jpg", b"dear diary", "unreadable: not an image"),
        ("table.mp4", b"a,b\n1,2\n" * 99, "unreadable: not a video, or damaged"),
        ("archive.png", b"PK\x03\x04" + bytes(200), "unreadable: not an image"),
        ("huge.png", huge_png(), "unreadable: Image size .* exceeds limit"),
    ],
)
def test_what_is_no_picture_has_its_row(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    (row,) = prepared(tmp_path / name, tmp_path)
    assert row.path == ""
    assert re.match(reason, row.status)


def test_truncated_image_has_its_row(tmp_path, astronaut):
    Image.fromarray(astronaut).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:4000])
    (row,) = prepared(tmp_path / "cut.jpg", tmp_path)
    assert "truncated" in row.status


def test_truncated_video_gives_its_good_frames_and_a_row(tmp_path):
    av = pytest.importorskip("av")
    random = np.random.default_rng(0)
    path = tmp_path / "whole.mpg"  # of a format that is read without a table at its end
    with av.open(str(path), "w", format="mpeg") as container:
        stream = container.add_stream("mpeg1video", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 4_000_000
        for _ in range(30):
            frame = random.integers(0, 256, (64, 96, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    (tmp_path / "cut.mpg").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rows = prepared(tmp_path / "cut.mpg", tmp_path)
    assert 5 < sum(row.status == "ok" for row in rows) < 30
    assert {row.status.split(":")[0] for row in rows} <= {"ok", "unreadable"}


@pytest.mark.parametrize(
    ("name", "begins"), [("whole.avi", 0), ("whole.mkv", 0), ("whole.mkv", 20), ("whole.mp4", 20), ("whole.flv", 0)]
)
def test_video_that_breaks_off_has_a_row_that_says_so(tmp_path, name, begins):
    av = pytest.importorskip("av")
    random = np.random.default_rng(0)
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    with av.open(str(tmp_path / name), "w", options=options) as container:
        stream = container.add_stream("flv" if name.endswith("flv") else "mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(30):
            pixels = random.integers(0, 256, (64, 96, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = begins + i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert {row.status for row in prepared(tmp_path / name, tmp_path)} == {"ok"}
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    *rows, last = prepared(tmp_path / name, tmp_path)
    assert 5 < len(rows) < 30
    assert re.fullmatch(r"unreadable: it breaks off after \d\.\d00 of [23]\.\d00 seconds", last.status)


def test_video_named_as_an_image_has_its_row(tmp_path, portrait_video):
    (tmp_path / "video.png").write_bytes(portrait_video.read_bytes())
    (row,) = prepared(tmp_path / "video.png", tmp_path)
    assert row.status.startswith("unreadable: not an image")


def test_sound_without_pictures_has_its_row(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "sound.mp4"), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    (row,) = prepared(tmp_path / "sound.mp4", tmp_path)
    assert row.status == "unreadable: a file without a video stream"


@pytest.mark.parametrize("kind", ["16 bit", "palette", "CMYK", "RGBA", "one bit", "one pixel", "animated"])
def test_unusual_images_are_read(tmp_path, kind):
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    image, suffix, options = Image.fromarray(grey), "png", {}
    if kind == "16 bit":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif kind == "palette":
        image = image.convert("RGB").quantize(64)
    elif kind == "CMYK":
        image, suffix = image.convert("CMYK"), "tiff"
    elif kind == "RGBA":
        image = image.convert("RGBA")
    elif kind == "one bit":
        image = image.convert("1")
    elif kind == "one pixel":
        image = Image.new("L", (1, 1), 77)
    else:
        suffix, options = "gif", {"save_all": True, "append_images": [Image.new("L", (64, 64))]}
    image.save(tmp_path / f"a.{suffix}", **options)
    (row,) = prepared(tmp_path / f"a.{suffix}", tmp_path, margin=0.0)
    assert row.status == "ok"
    made = np.asarray(Image.open(tmp_path / "set" / row.path).convert("L")).astype(int)
    if kind == "one pixel":
        assert (made == 77).all()
    elif kind != "one bit":
        assert np.abs(made - grey).max() <= 3


def test_phone_photograph_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = np.zeros((64, 64), np.uint8)
    grey[:, :32] = 200
    Image.fromarray(grey).save(tmp_path / "phone.png", exif=exif)
    (row,) = prepared(tmp_path / "phone.png", tmp_path, margin=0.0)
    made = np.asarray(Image.open(tmp_path / "set" / row.path))
    assert (made[:32] == 200).all()
    assert (made[32:] == 0).all()


def test_times_of_a_variable_frame_rate_are_the_files(tmp_path):
    av = pytest.importorskip("av")
    from fractions import Fraction

    times = [0, 40, 80, 500, 540, 1500]
    with av.open(str(tmp_path / "phone.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 30 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    rows = prepared(tmp_path / "phone.mp4", tmp_path)
    assert [round(1000 * float(row.time)) for row in rows] == times


def test_picture_without_a_face_and_with_several(tmp_path, astronaut):
    Image.new("L", (200, 200), 90).save(tmp_path / "none.png")
    (row,) = prepared(tmp_path / "none.png", tmp_path, detector="cascade")
    assert row.status == "no face found"
    Image.fromarray(np.concatenate([astronaut, astronaut], 1)).save(tmp_path / "two.png")
    (row,) = prepared(tmp_path / "two.png", tmp_path, detector="cascade")
    assert row.status == "ok"
    assert "several faces" in row.flags


def test_file_that_may_not_be_read_has_its_row(tmp_path, monkeypatch):
    Image.new("L", (8, 8)).save(tmp_path / "secret.png")
    opened = Image.open

    def refused(path, *rest):
        if "secret" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *rest)

    monkeypatch.setattr(Image, "open", refused)
    (row,) = prepared(tmp_path / "secret.png", tmp_path)
    assert row.status == "unreadable: no permission to read it"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["pipe.png", "pipe.mp4"])
def test_pipe_has_its_row_and_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (row,) = prepared(tmp_path / name, tmp_path)
    assert row.status == "unreadable: a pipe, not a file"


def test_folder_that_may_not_be_read_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "secret").mkdir()
    scanned = os.scandir

    def refused(path):
        if "secret" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scanned(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert find_images(tmp_path) == [tmp_path / "secret"]


def test_name_that_is_no_text_has_its_row(tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"latin\xe9.png")
    with open(name, "wb") as file:
        Image.new("L", (32, 32), 50).save(file, "PNG")
    (row,) = prepared(os.fsdecode(name), tmp_path)
    assert row.status == "ok"
    assert row.source.endswith(r"latin\xe9.png")
    assert (tmp_path / "set" / row.path).is_file()


def test_pillows_limit_of_pixels_is_kept():
    program = "import flowexpr.faces.detectors, flowexpr.cli; from PIL import Image; print(Image.MAX_IMAGE_PIXELS)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(ran.stdout) == Image.MAX_IMAGE_PIXELS == 89_478_485


def test_nothing_to_read_at_all_is_status_1(tmp_path, capsys):
    for name in ("a.png", "b.mp4"):
        (tmp_path / name).touch()
    assert main(["prepare", str(tmp_path / "a.png"), str(tmp_path / "b.mp4"), "-o", str(tmp_path / "set")]) == 1
    assert "0 crops of 2 frames or files" in capsys.readouterr().out


def test_video_of_flat_frames_has_no_face(tmp_path, write_video):
    path = write_video(tmp_path / "flat.mp4", [np.full((64, 96, 3), 80, np.uint8)] * 4)
    assert [row.status for row in prepared(path, tmp_path, detector="cascade")] == ["no face found"] * 4


def test_image_reads_alike_from_whatever_it_is_stored_in(tmp_path):
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    for suffix in ("png", "tiff", "bmp", "pgm"):
        Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(np.asarray(read_image(tmp_path / f"a.{suffix}")), grey)


def damaged_video(path, broken):
    """Write a video of 30 frames, 10 a second and each a picture of its own; the packet of one has no content."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for i in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 8 * i, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                if i == broken:
                    empty = av.Packet(bytes(packet.size))
                    empty.pts, empty.dts, empty.duration = packet.pts, packet.dts, packet.duration
                    empty.time_base, empty.stream = packet.time_base, packet.stream
                    packet = empty
                container.mux(packet)
        container.mux(stream.encode())
    return path


def test_damage_before_the_last_segment_has_its_row(tmp_path):
    segments = [Segment("damaged.avi", 0.2, 0.5, "fear", clip="a"), Segment("damaged.avi", 1.0, 1.2, "joy", clip="b")]
    path = damaged_video(tmp_path / "damaged.avi", 4)
    *good, last = prepare_faces([str(path)], tmp_path / "set", segments=segments, detector="none")
    assert [row.time for row in good] == ["0.200", "0.300", "1.000", "1.100"]
    assert last.status.startswith("unreadable: parts of it cannot be decoded")


def test_times_go_from_where_the_file_begins(tmp_path):
    *frames, last = prepared(damaged_video(tmp_path / "damaged.avi", 0), tmp_path)
    assert [row.time for row in frames[:2]] == ["0.100", "0.200"]
    assert last.status.startswith("unreadable: parts of it cannot be decoded")


def test_times_that_start_again_go_on(tmp_path, write_video):
    parts = []
    for i in range(2):
        frames = [np.full((64, 64, 3), 10 * i + j, np.uint8) for j in range(20)]
        parts.append(write_video(tmp_path / f"{i}.ts", frames).read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    times = [frame.time for frame in read_frames(tmp_path / "both.ts")]
    np.testing.assert_allclose(times, np.arange(40) / 10, atol=0.011)


def test_a_name_with_a_colon_is_no_protocol(tmp_path, monkeypatch, write_video):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "video.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3).rename("2024-01-01T10:30:00.mp4")
    assert len([*read_frames("2024-01-01T10:30:00.mp4")]) == 3


def test_a_carriage_return_in_a_name_spoils_no_table(tmp_path):
    folder = tmp_path / "S01\r"
    folder.mkdir()
    Image.new("L", (64, 64), 90).save(folder / "a.png")
    (row,) = prepared(folder / "a.png", tmp_path)
    assert row.status == "ok"
    assert row.source.endswith("S01\\r/a.png")
    assert prepared(folder / "a.png", tmp_path) == [row]  # read again from the rows that were kept
