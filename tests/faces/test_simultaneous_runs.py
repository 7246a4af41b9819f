"""Several runs on one folder: a second one waits for its turn, and workers of a killed one spoil nothing."""

import shutil
import signal
import subprocess
import sys
import time

import pytest

from flowexpr.faces import prepare_faces
from flowexpr.files import locked

pytest.importorskip("fcntl")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_second_run_on_a_folder_is_told_of_the_first(photographs, tmp_path):
    (tmp_path / "set").mkdir()
    with locked(tmp_path / "set"), pytest.raises(BlockingIOError, match=r"another run is at work in .*set"):
        prepare_faces([str(photographs / "good.png")], tmp_path / "set", detector="none")
    assert not list((tmp_path / "set").iterdir())
    prepare_faces([str(photographs / "good.png")], tmp_path / "set", detector="none")


def test_lock_goes_with_a_killed_run(tmp_path):
    program = (
        "import sys, time; from flowexpr.files import locked\n"
        f"with locked({str(tmp_path)!r}): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError), locked(tmp_path):
            pass
        run.send_signal(signal.SIGKILL)
    with locked(tmp_path):
        pass


@pytest.mark.slow
def test_workers_of_a_killed_run_spoil_no_later_one(portrait_video, tmp_path):
    sources = [str(shutil.copy(portrait_video, tmp_path / f"{number}.mp4")) for number in range(3)]
    program = (
        "import time; import numpy as np; from flowexpr.faces import prepare_faces\n"
        "def slow(image): time.sleep(0.05); return [[20, 20, 220, 220]], None\n"
        f"prepare_faces({sources!r}, {str(tmp_path / 'killed')!r}, detector=slow, workers=2)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as run:
        while run.poll() is None and not list(tmp_path.glob("killed/.*.partial/*/*.png")):
            time.sleep(0.01)
        run.kill()  # its two workers go on

    def box(image):
        return [[20, 20, 220, 220]], None

    for _ in range(3):
        rows = prepare_faces(sources, tmp_path / "killed", detector=box)
        assert [row.status for row in rows] == ["ok"] * 120
        time.sleep(0.5)
    prepare_faces(sources, tmp_path / "whole", detector=box)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
