"""``flowexpr doctor``: what is installed, which device and precision would be used, and what is missing."""

import argparse
import os
import platform
import re
import time
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import numpy as np
import torch

from flowexpr import FlowExpressionClassifier, __version__
from flowexpr.cli.options import command_parser
from flowexpr.parameters import resolve_device, resolve_precision

__all__ = ["add_parser"]

EXTRAS = ("plot", "faces", "tsne", "explain", "video", "opencv")
"""The extras that users install; the others are for work on flowexpr itself."""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "doctor", "tell what is installed and what would be used", "")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    device = resolve_device("auto")
    core, extras = _requirements()
    print(f"flowexpr {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
    print("installed")
    for name in core:
        print(f"  {name:<14} {_installed(name) or 'MISSING: pip install ' + name}")
    print("optional")
    told = {"flowexpr"}  # of an extra that builds on another
    for extra in EXTRAS:
        for name in extras[extra]:
            if name in told:
                continue
            told.add(name)
            print(f"  {name:<14} {_installed(name) or f'missing: pip install {_quoted(extra)}'}")
    print("\nwould be used")
    print(f"  {'device':<14} {_describe(device)}")
    for kind, is_image in (("images", True), ("vectors", False)):
        print(f"  {'precision':<14} {resolve_precision('auto', device, is_image=is_image)} for {kind}")
    print(f"  {'threads':<14} {torch.get_num_threads()} of {os.cpu_count()} processors")
    return _try()


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Return what flowexpr requires, and what each of its extras adds, as its metadata say."""
    core: list[str] = []
    extras: dict[str, list[str]] = defaultdict(list)
    for requirement in requires("flowexpr") or []:
        match = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if match is None:
            continue
        if extra is None:
            core.append(match[0])
        else:
            extras[extra[1]].append(match[0])
    return core, extras


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _quoted(extra: str) -> str:
    return f"'flowexpr[{extra}]'"


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return "cpu" if torch.version.cuda else "cpu (this torch is built without CUDA)"


def _try() -> int:
    """Train a tiny flow for one step, and say whether that works."""
    began = time.perf_counter()
    X = np.random.default_rng(0).integers(0, 256, (8, 16, 16), dtype=np.uint8)
    model = FlowExpressionClassifier(n_flows=1, hidden_channels=8, max_steps=1, random_state=0).fit(X, np.arange(8) % 2)
    exact = bool((model.decode(model.encode(X)) == X >> 3 << 3).all())
    verdict = "works" if exact else "FAILED: decoding did not give the images back"
    print(f"  {'a tiny flow':<14} {verdict} ({time.perf_counter() - began:.1f} s)")
    return 0 if exact else 1
