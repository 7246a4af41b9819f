"""Where a benchmark writes what it measured: the tables and plots that the documentation shows."""

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
"""Holds one page a benchmark, included by the documentation, and its plots."""

PACKAGES = ("torch", "scikit-learn", "numpy")


def machine() -> str:
    """Describe the machine and the versions in one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES if _is_installed(name))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} cores of {_processor()} ({torch.backends.cpu.get_cpu_capability()}), {memory:.0f} GiB, {gpu}"
        f"{platform.system()}, Python {platform.python_version()}, {versions}"
    )


def command() -> str:
    """Return the command that runs this benchmark, its paths outside the repository shortened to their last part."""
    words = [_shortened(word) for word in sys.argv[1:]]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(shlex.quote, words)])


def _shortened(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    leaves = os.path.isabs(value) or os.path.normpath(value).startswith(os.pardir)
    return option + equals + (Path(os.path.normpath(value)).name if leaves else value)


def table(header: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def write(name: str, text: str) -> None:
    """Print a benchmark's text and write it where the documentation includes it."""
    FOLDER.mkdir(exist_ok=True)
    page = f"{text}\n\n`{command()}`: {machine()}.\n"
    (FOLDER / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
