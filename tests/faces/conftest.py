"""A photograph with a face, and a short video of a drawn one that moves."""

import numpy as np
import pytest
from PIL import Image

from flowexpr.datasets import make_faces


@pytest.fixture(scope="session")
def astronaut():
    """Return scikit-image's photograph of an astronaut, cut to 300 x 300; the face is around (145, 110)."""
    return np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:300, 80:380])


@pytest.fixture(scope="session")
def portrait_video(tmp_path_factory, astronaut, write_video):
    """Return a video of 40 frames, 10 a second, in which a photograph moves by 3 pixels a frame, 20 away and back."""
    frames = []
    for i in range(40):
        shift = 3 * min(i, 40 - i)
        frame = np.full((304, 400, 3), 90, np.uint8)
        frame[2:302, 20 + shift : 320 + shift] = astronaut
        frames.append(frame)
    return write_video(tmp_path_factory.mktemp("video") / "portrait.mp4", frames)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory, astronaut):
    """Return a folder with a good file, and one of every kind that is not."""
    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(astronaut).save(folder / "good.png")
    Image.fromarray(astronaut).save(folder / "good.jpg", quality=95)
    Image.new("RGB", (200, 200), (90, 120, 60)).save(folder / "no_face.png")
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.jpg").write_bytes((folder / "good.jpg").read_bytes()[:3000])
    Image.new("L", (1, 1)).save(folder / "one.png")
    return folder


@pytest.fixture(scope="session")
def drawn():
    return make_faces(2, n_clips=1, n_frames=1, image_size=64, random_state=0)
