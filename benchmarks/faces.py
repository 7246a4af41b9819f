"""How often detectors find a face that is there, and one that is not.

    python benchmarks/faces.py JAFFE [--others FOLDER] [--without 1200]

JAFFE's photographs have 256 x 256 pixels and the face always at about the same place, which needs no landmarks to
tell: the square from the brows to the chin lies within some ten pixels of `FACE`. A detector's surest box is right
where its intersection with that square is at least half of their union, the square turned and shrunk with the picture.
Pictures without a face are squares cut at random out of the photographs and drawings that come with scikit-image and
scikit-learn, turned and mirrored; the same with their blocks in disorder; JAFFE's photographs with their blocks in
disorder; and noise. Of other photographs, of one face each, it is not known where that is: counted is whether exactly
one face is found.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import reporting
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from flowexpr.faces import Face, find_images, make_detector, read_image
from flowexpr.faces.detectors import Detector, detect_with

FACE = (61.0, 76.0, 199.0, 214.0)
"""Left, top, right, bottom in JAFFE's photographs, as one sees them on a contact sheet."""
WITHOUT_FACES = (
    *("brick", "cat", "cell", "checkerboard", "clock", "coffee", "coins", "colorwheel", "grass", "gravel"),
    *("hubble_deep_field", "immunohistochemistry", "microaneurysms", "moon", "page", "retina", "rocket", "text"),
)
"""Of scikit-image's pictures those in its wheel; the astronaut, the cameraman and the Labeled Faces are left out."""
KINDS = ("cut out", "cut out", "disordered", "JAFFE disordered", "noise")
SIDE, BLOCK = 256, 32
Picture = NDArray[np.uint8]
Place = Callable[[complex], complex]
"""Where a point of the photograph, x + iy, lies in what was made of it."""


def turned(photo: Picture, degrees: float) -> tuple[Picture, Place]:
    """Turn a photograph counter-clockwise around its middle."""
    image = Image.fromarray(photo).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=int(np.median(photo)))
    middle, turn = complex(SIDE / 2, SIDE / 2), np.exp(-1j * np.radians(degrees))
    return np.asarray(image), lambda point: (point - middle) * turn + middle


def darkened(photo: Picture, share: float) -> tuple[Picture, Place]:
    """Take light away, as a camera of eight bits would see it."""
    return (photo * share).astype(np.uint8), lambda point: point


def shrunk(photo: Picture, side: int) -> tuple[Picture, Place]:
    """Make a photograph smaller."""
    image = Image.fromarray(photo).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image), lambda point: point * side / SIDE


CHANGES: dict[str, Callable[[Picture], tuple[Picture, Place]]] = {
    "as they come": lambda photo: (photo, lambda point: point),
    "turned by 20 degrees": lambda photo: turned(photo, 20),
    "turned by -20 degrees": lambda photo: turned(photo, -20),
    "darkened to a quarter": lambda photo: darkened(photo, 0.25),
    "darkened to a tenth": lambda photo: darkened(photo, 0.1),
    "shrunk to 96 x 96": lambda photo: shrunk(photo, 96),
    "shrunk to 64 x 64": lambda photo: shrunk(photo, 64),
}


def is_right(face: Face, place: Place) -> bool:
    """Tell whether a box lies on the face of a changed photograph."""
    left, top, right, bottom = FACE
    middle = place(complex((left + right) / 2, (top + bottom) / 2))
    half = abs(place(complex(right, top)) - place(complex(left, top))) / 2
    true = (middle.real - half, middle.imag - half, middle.real + half, middle.imag + half)
    return overlap(face.box, true) >= 0.5


def overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Return the intersection of two boxes over their union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    both = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return both / (areas - both)


def recall_of(detector: Detector, photos: list[Picture]) -> Iterator[list[str]]:
    """Yield a row of the table for every change of the photographs."""
    for name, change in CHANGES.items():
        found = other = 0
        began = time.process_time()
        for photo in photos:
            picture, place = change(photo)
            faces = detect_with(detector, picture)
            found += bool(faces) and is_right(faces[0], place)
            other += sum(not is_right(face, place) for face in faces)
        milliseconds = 1000 * (time.process_time() - began) / len(photos)
        yield [name, f"{found / len(photos):.3f}", f"{100 * other / len(photos):.1f}", f"{milliseconds:.0f}"]


def pictures_without_faces(n: int, photos: list[Picture], random: np.random.Generator) -> Iterator[tuple[str, Picture]]:
    """Yield pictures of `SIDE` x `SIDE` pixels without a face, and of which kind they are."""
    drawn = [np.asarray(Image.fromarray(getattr(skimage.data, name)()).convert("L")) for name in WITHOUT_FACES]
    drawn += [np.asarray(Image.fromarray(image).convert("L")) for image in load_sample_images().images]
    for i in range(n):
        cut = random_square(drawn[i % len(drawn)], random)
        kind = KINDS[(i // len(drawn)) % len(KINDS)]
        if kind == "disordered":
            yield kind, in_disorder(cut, random)
        elif kind == "JAFFE disordered":
            yield kind, in_disorder(photos[random.integers(len(photos))], random)
        elif kind == "noise":
            yield kind, noise(random)
        else:
            yield kind, cut


def found_in(detector: Detector, others: list[Picture]) -> Iterator[list[str]]:
    """Yield a row for the other photographs, if there are any."""
    if others:
        began = time.process_time()
        found = [len(detect_with(detector, picture)) for picture in others]
        milliseconds = 1000 * (time.process_time() - began) / len(others)
        share = np.mean(np.array(found) == 1)
        yield [f"one face in {len(others)} other photographs", f"{share:.3f}", "", f"{milliseconds:.0f}"]


def false_boxes_of(detector: Detector, n: int, photos: list[Picture]) -> Iterator[list[str]]:
    """Yield rows of the table for the pictures without a face: all of them, and those of every kind."""
    boxes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    began = time.process_time()
    for kind, picture in pictures_without_faces(n, photos, np.random.default_rng(1)):
        counts[kind] += 1
        boxes[kind] += len(detect_with(detector, picture))
    milliseconds = 1000 * (time.process_time() - began) / n
    yield ["without a face: all", "", f"{100 * boxes.total() / n:.1f}", f"{milliseconds:.0f}"]
    for kind in dict.fromkeys(KINDS):
        yield [f"of them {counts[kind]} {kind}", "", f"{100 * boxes[kind] / counts[kind]:.1f}", ""]


def random_square(image: Picture, random: np.random.Generator) -> Picture:
    """Cut a square out of a picture, turn it by quarters and perhaps mirror it."""
    side = round(min(image.shape) * random.uniform(0.4, 1.0))
    top, left = (random.integers(length - side + 1) for length in image.shape)
    cut = Image.fromarray(image[top : top + side, left : left + side]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.rot90(np.asarray(cut), random.integers(4))
    return np.ascontiguousarray(pixels[:, ::-1] if random.random() < 0.5 else pixels)


def in_disorder(image: Picture, random: np.random.Generator) -> Picture:
    """Put the blocks of a picture into a random order."""
    n = SIDE // BLOCK
    blocks = image.reshape(n, BLOCK, n, BLOCK).swapaxes(1, 2).reshape(n * n, BLOCK, BLOCK)
    mixed = blocks[random.permutation(n * n)].reshape(n, n, BLOCK, BLOCK)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(SIDE, SIDE))


def noise(random: np.random.Generator) -> Picture:
    """Return noise as smooth as photographs are: its amplitudes fall with the frequency."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)) + 1 / SIDE
    waves = np.fft.fft2(random.normal(size=(SIDE, SIDE))) / frequency
    values = np.fft.ifft2(waves).real
    return np.clip(128 + 50 * (values - values.mean()) / values.std(), 0, 255).astype(np.uint8)


def installed_detectors() -> list[str]:
    """Return the detectors that need no file, "haar" only where there is OpenCV."""
    return ["cascade", *(["haar"] if find_spec("cv2") else [])]


def main() -> None:
    """Measure every detector and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jaffe", type=Path, metavar="JAFFE", help="folder of the data set")
    parser.add_argument("--others", type=Path, metavar="FOLDER", help="of photographs, all its files, of a face each")
    parser.add_argument("--detectors", nargs="+", default=installed_detectors(), metavar="NAME")
    parser.add_argument("--without", type=int, default=600, metavar="N", help="pictures without a face")
    options = parser.parse_args()
    photos = [np.asarray(read_image(path).convert("L")) for path in find_images(options.jaffe)]
    files = sorted(options.others.iterdir()) if options.others else []
    others = [np.asarray(read_image(path).convert("L")) for path in files]
    parts = []
    for name in options.detectors:
        detector = make_detector(name)
        rows = [*recall_of(detector, photos), *found_in(detector, others)]
        rows += false_boxes_of(detector, options.without, photos)
        header = [f"`{name}`", "recall", "false boxes in 100 pictures", "CPU ms a picture"]
        parts.append(reporting.table(header, rows))
    reporting.write("faces", "\n\n".join(parts))


if __name__ == "__main__":
    main()
