"""Memory of a training step against depth and batch, with stored and with recomputed activations, and its time.

    python benchmarks/memory.py

Each figure of memory comes from a process of its own. "Activations" is how far the resident memory of a forward and
backward pass rises above what the weights and their gradients hold; "resident" is the highest of the whole process,
while `FlowExpressionClassifier(**PAPER)` does one step. Needs Linux, whose kernel resets the peak on request. Where
activations are measured, stored or recomputed, glibc gives every freed block of 64 KiB or more back at once
(MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_): its default threshold moves with what was freed before, and what it
then keeps comes and goes by tens of MiB. Everything else runs under glibc's defaults. Times of f are of both ways in
turn in one process: the least of each, and the median of the ratios. A step goes through the networks three times
(there, and twice as long back), recomputing adds a fourth: 4/3 is the least that can be expected.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import reporting
import torch
from matplotlib.figure import Figure
from resident import resident_gib

from flowexpr import PAPER, FlowExpressionClassifier
from flowexpr.flows import Glow
from flowexpr.flows.steps import FlowSteps

DEPTHS = (4, 8, 16, 32, 64)
BATCHES = (4, 8, 16, 32, 128)
WIDTH, SIDE, N_BLOCKS, BATCH = 128, 64, 3, 16
MODES = ("store", "reversible")
MOST_STORED = 16
"""Largest batch of the paper's model whose activations are stored here: twice that needs more than 16 GiB."""
GIVE_FREED_MEMORY_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
N_TURNS = 5
"""How often each way is timed."""


def _model_and_step(n_flows: int) -> tuple[Glow, Callable[[], None]]:
    """Return f, its weights with gradients, and a function that does a forward and backward pass of one batch."""
    torch.manual_seed(0)
    model = Glow((3, SIDE, SIDE), N_BLOCKS, n_flows, WIDTH).to(memory_format=torch.channels_last)
    x = torch.rand(BATCH, 3, SIDE, SIDE).to(memory_format=torch.channels_last)

    def step() -> None:
        latents = model(x)
        (-latents.log_prob.mean() + 0.5 * latents.z[0].square().flatten(1).sum(1).mean()).backward()

    with torch.no_grad():
        model(x)  # ActNorm sees its first batch
    return model, step


def _set_mode(model: Glow, mode: str) -> None:
    for module in model.modules():
        if isinstance(module, FlowSteps):
            module.reversible = mode == "reversible"


def measure_depth(n_flows: int, mode: str) -> dict[str, float]:
    """Return the GiB of activations of f alone."""
    model, step = _model_and_step(n_flows)
    _set_mode(model, mode)
    step()  # the gradients are there afterwards
    ctypes.CDLL(None).malloc_trim(0)  # what glibc keeps of the freed activations would count as held before
    before = resident_gib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    for _ in range(2):
        step()
    return {"gib": resident_gib() - before}


def measure_time(n_flows: int, mode: str) -> dict[str, float]:
    """Return the seconds of a step of f in either mode, and the ratio of neighbours; `mode` is "both"."""
    model, step = _model_and_step(n_flows)
    step()
    seconds: dict[str, list[float]] = {name: [] for name in MODES}
    for _ in range(N_TURNS):
        for name, times in seconds.items():
            _set_mode(model, name)
            began = time.perf_counter()
            step()
            times.append(time.perf_counter() - began)
    ratio = float(np.median(np.divide(seconds["reversible"], seconds["store"])))
    return {name: min(times) for name, times in seconds.items()} | {"ratio": ratio}


def measure_batch(batch: int, mode: str) -> dict[str, float]:
    """Return the highest resident GiB and the seconds while the paper's model does one step."""
    X = np.random.default_rng(0).integers(0, 256, (batch, 64, 64, 3), dtype=np.uint8)
    settings = PAPER | {"batch_size": batch, "memory": mode, "max_steps": 1, "random_state": 0, "device": "cpu"}
    clf = FlowExpressionClassifier(**settings).fit(X, np.arange(batch) % 6)
    return {"gib": resident_gib(), "seconds": clf.history_[0]["seconds"]}


def apart(kind: str, size: int, mode: str) -> dict[str, float]:
    """Measure in a process of its own; activations, the figures of depth, without memory that glibc keeps."""
    arguments = [sys.executable, __file__, "--measure", kind, str(size), mode]
    environment = os.environ | (GIVE_FREED_MEMORY_BACK if kind == "depth" else {})
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def main() -> None:
    """Measure both curves; write the tables and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        kind, size, mode = options.measure
        measure = {"depth": measure_depth, "time": measure_time, "batch": measure_batch}[kind]
        print(json.dumps(measure(int(size), mode)))
        return
    by_depth = {mode: {depth: apart("depth", depth, mode) for depth in options.depths} for mode in MODES}
    times = {depth: apart("time", depth, "both") for depth in options.depths}
    by_batch = {
        mode: {batch: apart("batch", batch, mode) for batch in options.batches if batch <= most}
        for mode, most in zip(MODES, (MOST_STORED, max(options.batches)), strict=True)
    }
    plot(by_depth, by_batch)
    reporting.write("memory", "\n\n".join([depth_table(by_depth, times), batch_table(by_batch), "![](memory.svg)"]))


Curves = dict[str, dict[int, dict[str, float]]]


def depth_table(curves: Curves, times: dict[int, dict[str, float]]) -> str:
    """Return the memory of activations by the number of flows of a block."""
    header = ["flows a block", "stored, GiB", "recomputed, GiB", "stored, s", "recomputed, s", "time ratio"]
    rows = []
    for depth, stored in curves["store"].items():
        gib = [f"{each['gib']:.3f}" for each in (stored, curves["reversible"][depth])]
        rows.append([depth, *gib, *(f"{times[depth][key]:.2f}" for key in (*MODES, "ratio"))])
    settings = ", ".join(f"{name}={value}" for name, value in GIVE_FREED_MEMORY_BACK.items())
    caption = (
        f"Activations of f: {SIDE} x {SIDE} x 3, {N_BLOCKS} blocks, {WIDTH} channels, batch {BATCH}; memory under "
        f"{settings}, times under glibc's defaults."
    )
    return f"{caption}\n\n{reporting.table(header, rows)}"


def batch_table(curves: Curves) -> str:
    """Return the resident memory of the paper's model by the size of a batch."""
    header = ["batch", "stored, GiB", "recomputed, GiB", "recomputed, s a step"]
    rows = []
    for batch, again in curves["reversible"].items():
        stored = curves["store"].get(batch)
        cell = f"{stored['gib']:.1f}" if stored else "not run"
        rows.append([batch, cell, f"{again['gib']:.1f}", f"{again['seconds']:.0f}"])
    return f"The paper's model, everything resident while it does one step.\n\n{reporting.table(header, rows)}"


def plot(by_depth: Curves, by_batch: Curves) -> None:
    """Draw both curves beside each other."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    panels = ((by_depth, "flows a block", "activations, GiB"), (by_batch, "batch (paper's model)", "resident, GiB"))
    for ax, (curves, x_label, y_label) in zip(axes, panels, strict=True):
        for mode, marker in zip(MODES, "os", strict=True):
            points = curves[mode]
            ax.plot(list(points), [each["gib"] for each in points.values()], marker=marker, label=mode)
        ax.set(xlabel=x_label, ylabel=y_label, ylim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
    reporting.FOLDER.mkdir(exist_ok=True)
    figure.savefig(reporting.FOLDER / "memory.svg")


if __name__ == "__main__":
    main()
