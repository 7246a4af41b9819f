"""The command that runs all benchmarks knows each of them."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks are in the repository alone")


def listed(*arguments):
    command = [sys.executable, FOLDER, "--list", *arguments]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[2].removeprefix("benchmarks/").removesuffix(".py"): line for line in lines}


def test_every_script_runs_where_all_data_is_given():
    scripts = {path.stem for path in FOLDER.glob("*.py") if "__name__ ==" in path.read_text(encoding="utf-8")}
    assert set(listed("--data", "A:ck+48", "--jaffe", "B", "--rosinality", "C")) == scripts - {"__main__"}


def test_data_are_passed_on_and_not_needed():
    with_data, without = listed("--data", "A:ck+48"), listed()
    assert with_data.keys() - without.keys() == {"accuracy"}
    assert "A:ck+48" in with_data["exactness"]
    assert "A:ck+48" not in with_data["vectors"]
