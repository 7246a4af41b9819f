"""Whether damaged files are survived: ``python benchmarks/fuzz.py [--files 10000]``.

Tiny images and videos of every common kind are cut off, and their bytes changed, moved and repeated at random. Each
goes through `prepare_faces`, in processes of their own, so that a crash of a decoder is seen as one, and so is a file
that takes longer than `PATIENCE`. A damaged file must have at least one row, and no file may stop the run.
"""

import argparse
import multiprocessing
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import av
import numpy as np
import reporting
from PIL import Image

from flowexpr.datasets import make_faces
from flowexpr.faces import prepare_faces

IMAGES = ("png", "jpg", "gif", "tiff", "bmp", "webp", "ppm", "jp2")
VIDEOS = {"mp4": "mpeg4", "avi": "mjpeg", "mkv": "h264", "mpg": "mpeg1video"}
BATCH, PATIENCE = 100, 120
"""Files of a process, and the seconds that it may take."""


def whole_files(folder: Path) -> list[Path]:
    """Write a file of every kind."""
    faces = make_faces(1, n_clips=1, n_frames=1, image_size=32, random_state=0).images
    paths = [folder / f"whole.{suffix}" for suffix in (*IMAGES, *VIDEOS)]
    for path in paths[: len(IMAGES)]:
        Image.fromarray(faces[0]).save(path)
    for path, codec in zip(paths[len(IMAGES) :], VIDEOS.values(), strict=True):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = 32, 32
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for face in faces:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(face, format="rgb24")))
            container.mux(stream.encode())
    return paths


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Damage a file in one to four ways."""
    damaged = bytearray(content)
    for _ in range(random.integers(1, 5)):
        start, stop = sorted(random.integers(0, len(damaged) + 1, 2))
        way = random.integers(5)
        if way == 0:
            damaged = damaged[: max(1, stop)]
        elif way == 1:
            damaged[start : start + 8] = random.integers(0, 256, 8, dtype=np.uint8).tobytes()
        elif way == 2:
            damaged[start:start] = damaged[start:stop][:200]
        elif way == 3:
            del damaged[start : min(stop, start + 40)]
        else:
            for place in random.integers(0, max(1, len(damaged)), 12):
                damaged[place : place + 1] = bytes([random.integers(256)])
        damaged = damaged or bytearray(b"\0")
    return bytes(damaged)


def survive(paths: list[str], folder: str, counts: "multiprocessing.Queue[Counter[str]]") -> None:
    """Prepare a batch and tell what became of its files."""
    warnings.simplefilter("ignore")  # Pillow warns of some damage before it raises
    rows = prepare_faces(paths, folder, detector="none", image_size=16)
    readable = {row.source for row in rows if row.status == "ok"}
    told = {row.source for row in rows}
    counts.put(Counter("read" if path in readable else "told" if path in told else "no row" for path in paths))


def main() -> None:
    """Damage, prepare, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="how many; default 10000")
    n_files = parser.parse_args().files
    random, total = np.random.default_rng(0), Counter[str]()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents = [(path.suffix, path.read_bytes()) for path in whole_files(folder)]
        for first in range(0, n_files, BATCH):
            paths = []
            for i in range(first, min(first + BATCH, n_files)):
                suffix, content = contents[i % len(contents)]
                paths.append(str(folder / f"{i:06d}{suffix}"))
                Path(paths[-1]).write_bytes(mutated(content, random))
            counts: multiprocessing.Queue[Counter[str]] = context.Queue()
            process = context.Process(target=survive, args=(paths, str(folder / f"set{first}"), counts))
            process.start()
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                total["batches that hung"] += 1
            elif process.exitcode:
                total["batches that crashed"] += 1
            else:
                total += counts.get()
            if process.exitcode:
                print(f"batch from {first}: exit code {process.exitcode}", flush=True)
    kinds = ("read", "told", "no row", "batches that crashed", "batches that hung")
    header = ["damaged files", "read all the same", "told in their row", "without a row", "crashes", "hangs"]
    reporting.write("fuzz", reporting.table(header, [[n_files, *(total[kind] for kind in kinds)]]))


if __name__ == "__main__":
    main()
