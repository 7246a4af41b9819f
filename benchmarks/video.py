"""Faces in a recording: how well they are followed, how fast, and in how much memory.

    python benchmarks/video.py [--minutes 30]

Draws a minute of video of 640 x 480 pixels at 24 frames a second: the faces of a person of `make_faces`, pasted on a
background that drifts, wander and grow and shrink. (The default cascade, made for photographs, finds this person; it
misses about a third of drawn people.) The true box of a face is what the package means by one (`Face.of_eyes`: the
square from the brows to the chin, 2.27 distances between the eyes wide), around the eyes of drawn people, which lie
on average 0.157 of the picture's side left and right of its middle and 0.02 below. A frame without a face counts as
an overlap of 0. The long file is the same minute over and over.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import av
import numpy as np
import reporting
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from faces import overlap
from flowexpr.datasets import make_faces
from flowexpr.faces import Face, Row, prepare_faces

WIDTH, HEIGHT, FPS, SECONDS = 640, 480, 24, 60
FACE = 220
"""Side of the drawn pictures, pixels."""
EYES = 0.157, 0.52
"""From the middle to an eye, and from the top to the eyes, as shares of a drawn picture's side."""


def true_boxes(n: int) -> list[tuple[float, float, float, float]]:
    """Return where the pasted pictures lie: left, top, right, bottom."""
    t = np.arange(n) / FPS
    side = FACE * (0.85 + 0.15 * np.sin(0.35 * t))
    x = (WIDTH - side) * (0.5 + 0.45 * np.sin(0.9 * t))
    y = (HEIGHT - side) * (0.5 + 0.45 * np.sin(0.55 * t + 1))
    return [(a, b, a + s, b + s) for a, b, s in zip(np.round(x), np.round(y), np.round(side), strict=True)]


def face_of(box: tuple[float, float, float, float]) -> Face:
    """Return the face in a pasted picture."""
    left, top, right, _ = box
    side, middle = right - left, (left + right) / 2
    x, y = EYES[0] * side, top + EYES[1] * side
    return Face.of_eyes([(middle - x, y), (middle + x, y)])


def draw_video(path: Path) -> list[Face]:
    """Write a minute of video and return the true face of every frame."""
    random = np.random.default_rng(0)
    drawn = make_faces(1, neutral=True, n_clips=1, n_frames=8, image_size=FACE, random_state=0).images
    boxes = true_boxes(FPS * SECONDS)
    behind = background(random)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i, (left, top, right, _) in enumerate(boxes):
            drift = round(60 + 55 * np.sin(0.2 * i / FPS)), round(60 + 55 * np.cos(0.31 * i / FPS))
            frame = behind[drift[1] : drift[1] + HEIGHT, drift[0] : drift[0] + WIDTH].copy()
            side = int(right - left)
            pasted = Image.fromarray(drawn[i // 4 % len(drawn)]).resize((side, side), Image.Resampling.BILINEAR)
            frame[int(top) : int(top) + side, int(left) : int(left) + side] = np.asarray(pasted)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return [face_of(box) for box in boxes]


def background(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a smooth pattern of colours, larger than a frame."""
    waves = gaussian_filter(random.normal(size=(HEIGHT + 120, WIDTH + 120, 3)), (6, 6, 0))
    return np.clip(128 + 40 * waves / waves.std(), 0, 255).astype(np.uint8)


def repeat(path: Path, output: Path, n: int) -> None:
    """Write a video that shows another one n times, without coding it again."""
    with av.open(str(output), "w") as target:
        stream = None
        for i in range(n):
            with av.open(str(path)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                shift = round(i * SECONDS / video.time_base)
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, stream
                    target.mux(packet)


class Memory:
    """Looks at the resident memory while something runs."""

    def __enter__(self) -> "Memory":
        self.first, self.most = resident(), 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            self.most = max(self.most, resident())


def resident() -> float:
    """Return this process's resident memory, MiB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def prepared(path: Path, folder: Path) -> tuple[list[Row], float]:
    """Cut out the face of every frame; return the rows and the seconds it took."""
    began, worked = time.perf_counter(), time.process_time()
    rows = prepare_faces([str(path)], folder)
    print(f"{len(rows)} frames: {1000 * (time.process_time() - worked) / len(rows):.1f} ms of processor time each")
    return rows, time.perf_counter() - began


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=30, help="length of the long file; default 30")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        true = draw_video(folder / "minute.mp4")
        rows, seconds = prepared(folder / "minute.mp4", folder / "minute")
        repeat(folder / "minute.mp4", folder / "long.mp4", options.minutes)
        with Memory() as memory:
            long_rows, long_seconds = prepared(folder / "long.mp4", folder / "long")
    boxes = [tuple(map(float, row.box.split())) for row in rows]
    overlaps = np.array([overlap(box, face.box) if box else 0.0 for box, face in zip(boxes, true, strict=True)])
    frames = FPS * SECONDS * options.minutes
    found = sum(row.status == "ok" for row in long_rows)
    table = [
        ["mean overlap with the true box (intersection over union)", f"{overlaps.mean():.3f}"],
        ["its 5 % quantile over the frames", f"{np.quantile(overlaps, 0.05):.3f}"],
        ["frames with a face, in a minute", f"{sum(map(bool, boxes))} of {len(true)}"],
        ["jumps told, in a minute", sum("jump" in row.flags for row in rows)],
        ["speed, in times real time, a minute", f"{SECONDS / seconds:.1f}"],
        [f"the same, {options.minutes} minutes", f"{60 * options.minutes / long_seconds:.1f}"],
        [f"frames with a face, in {options.minutes} minutes", f"{found} of {frames}"],
        [f"growth of the resident memory over {options.minutes} minutes", f"{memory.most - memory.first:.0f} MiB"],
    ]
    reporting.write("video", reporting.table(["`flowexpr prepare`, every frame", ""], table))


if __name__ == "__main__":
    main()
