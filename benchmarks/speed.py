"""Speed: a training step and predict_proba against other Glows, of the same architecture, in alternating processes.

    git clone https://github.com/rosinality/glow-pytorch
    pip install normflows FrEIA
    python benchmarks/speed.py --rosinality glow-pytorch [--page NAME]

Writes one table: images a second of each, and ratios to rosinality's (the median over rounds, each round
measuring everybody once). Ours is the whole step: five-bit images from uint8 arrays, f, h under six classes, both
losses, gradient clipping and AdamW; theirs is the likelihood of a ready batch under f alone, and Adam. A prediction is
`predict_proba` from uint8 arrays for us (one view of an image, as in the paper; classes that differ, so that no close
call is made again in float32), a forward pass for them. A peer that is not there is left out. ``--keep-freed-memory``
lets glibc keep freed memory in every process. With a CUDA GPU everybody computes there, at larger batches too, the
memory is the GPU's, and the paper's 1200 epochs are projected.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from math import log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import reporting
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from flowexpr import FlowExpressionClassifier

N_CLASSES = 6
ON_GPU = torch.cuda.is_available()
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**35)}


class Config(NamedTuple):
    """An architecture and a batch."""

    side: int
    n_blocks: int
    n_flows: int
    width: int
    batch: int
    steps: int


CONFIGS = {
    "small, 64 px, batch 32": Config(64, 3, 8, 128, 32, 3),
    "small, 32 px, batch 32": Config(32, 3, 8, 128, 32, 8),
    "paper, batch 4": Config(64, 4, 32, 512, 4, 2),
    "paper, batch 32": Config(64, 4, 32, 512, 32, 1),
    "paper, batch 256": Config(64, 4, 32, 512, 256, 1),
    "paper, batch 1024": Config(64, 4, 32, 512, 1024, 1),
}
ON_CPU = [name for name, config in CONFIGS.items() if config.batch <= 32]
PAPER_IMAGES = 1200 * 54_511
"""Images that the paper's training sees: its epochs times its frames."""


class Times(NamedTuple):
    """Seconds of one training step and of one prediction, of a batch."""

    step: float
    predict: float


def classifier(config: Config, precision: str) -> "FlowExpressionClassifier":
    """Return the paper's model in the size of a configuration."""
    from flowexpr import PAPER, FlowExpressionClassifier

    size = {"n_blocks": config.n_blocks, "n_flows": config.n_flows, "hidden_channels": config.width}
    parameters = PAPER | size | {"head_hidden_channels": config.width, "batch_size": config.batch}
    return FlowExpressionClassifier(**parameters, random_state=0, precision=precision)


def tell_classes_apart(clf: "FlowExpressionClassifier") -> None:
    """Make the classes differ, as those of a trained model do, by ten nats and more."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for step in clf.module_.head.steps:
            weight = step.coupling.network.last.weight
            weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))  # drawn on the CPU, wherever it is


def measure_flowexpr(config: Config, precision: str) -> Times:
    """Measure what `fit` says of its second epoch, and predict_proba."""
    random = np.random.default_rng(0)
    n = config.batch * config.steps
    X = random.integers(0, 256, (n, config.side, config.side, 3), dtype=np.uint8)
    y = np.arange(n) % N_CLASSES
    # Two of the paper's 1200 epochs, and so the start of its warm-up: full steps at once blow 128 couplings up.
    clf = classifier(config, precision).set_params(max_steps=2 * config.steps).fit(X, y)
    first, second = clf.history_
    tell_classes_apart(clf)
    batch = X[: config.batch]
    clf.predict_proba(batch)
    seconds = fastest(lambda: clf.predict_proba(batch), 3)
    return Times(second["seconds"] / (second["steps"] - first["steps"]), seconds)


def measure_peer(build: Callable[[Config], tuple[nn.Module, Callable[[Tensor], Tensor]]], config: Config) -> Times:
    """Measure a peer by its module and the function from a batch to its log-likelihoods (n,)."""
    torch.manual_seed(0)
    module, log_likelihood = build(config)
    device = "cuda" if ON_GPU else "cpu"
    module.to(device)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-4)
    x = torch.randint(0, 32, (config.batch, 3, config.side, config.side), device=device) / 32 - 0.5
    n_dims = x[0].numel()

    def step() -> None:
        noisy = x + torch.rand_like(x) / 32
        loss = ((log(32) * n_dims - log_likelihood(noisy)) / (log(2) * n_dims)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    with torch.no_grad():
        log_likelihood(x + torch.rand_like(x) / 32)  # ActNorm sees its first batch
    step()
    seconds = fastest(step, config.steps)
    module.eval()
    with torch.no_grad():
        log_likelihood(x)
        return Times(seconds, fastest(lambda: log_likelihood(x), 3))


def build_rosinality(config: Config) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Build the unmodified model of a checkout; its width is a default that no argument reaches."""
    import model as rosinality

    rosinality.AffineCoupling.__init__.__defaults__ = (config.width, True)
    glow = rosinality.Glow(3, config.n_flows, config.n_blocks, affine=True, conv_lu=True)

    def log_likelihood(x: Tensor) -> Tensor:
        log_p, log_det, _ = glow(x)
        return log_p + log_det

    return glow, log_likelihood


def build_normflows(config: Config) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Build the Glow of normflows' own example."""
    import normflows as nf

    bases, merges, flows = [], [], []
    for level in range(config.n_blocks):
        channels = 3 * 2 ** (config.n_blocks + 1 - level)
        flows.append(
            [
                *[
                    nf.flows.GlowBlock(channels, config.width, split_mode="channel", scale=True)
                    for _ in range(config.n_flows)
                ],
                nf.flows.Squeeze(),
            ]
        )
        side = config.side // 2 ** (config.n_blocks - level)
        if level > 0:
            merges.append(nf.flows.Merge())
            shape = (channels // 2, side, side)
        else:
            shape = (channels, side, side)
        bases.append(nf.distributions.DiagGaussian(shape))
    module = nf.MultiscaleFlow(bases, flows, merges)
    return module, lambda x: module.log_prob(x, None)


def build_freia(config: Config) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Build a multi-scale INN of FrEIA's AllInOneBlock (ActNorm, affine coupling, orthogonal 1x1 convolution)."""
    import FrEIA.framework as ff
    import FrEIA.modules as fm

    def network(c_in: int, c_out: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(c_in, config.width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(config.width, config.width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(config.width, c_out, 3, padding=1),
        )

    node = ff.InputNode(3, config.side, config.side)
    nodes, outputs = [node], []
    for level in range(config.n_blocks):
        node = ff.Node(node, fm.IRevNetDownsampling, {})
        nodes.append(node)
        for _ in range(config.n_flows):
            node = ff.Node(node, fm.AllInOneBlock, {"subnet_constructor": network})
            nodes.append(node)
        if level < config.n_blocks - 1:
            node = ff.Node(node, fm.Split, {"dim": 0})
            nodes.append(node)
            outputs.append(ff.OutputNode(node.out1))
    graph = ff.GraphINN([*nodes, *outputs, ff.OutputNode(node)])

    def log_likelihood(x: Tensor) -> Tensor:
        z, log_det = graph(x)
        return log_det - 0.5 * sum(part.square().flatten(1).sum(1) + part[0].numel() * log(2 * np.pi) for part in z)

    return graph, log_likelihood


PEERS = {"rosinality": build_rosinality, "normflows": build_normflows, "FrEIA": build_freia}


def fastest(action: Callable[[], object], n: int) -> float:
    """Return the seconds of an action: the fastest of n, since a busy machine only ever adds."""
    times = []
    for _ in range(n):
        began = time.perf_counter()
        action()
        if ON_GPU:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def measure(name: str, config: Config, options: argparse.Namespace) -> dict[str, float]:
    """Measure in this process."""
    if options.threads:
        torch.set_num_threads(options.threads)
    is_ours = name == "flowexpr"
    times = measure_flowexpr(config, options.precision) if is_ours else measure_peer(PEERS[name], config)
    kib = torch.cuda.max_memory_reserved() / 2**10 if ON_GPU else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return times._asdict() | {"gib": kib / 2**20}


def measure_apart(name: str, config_name: str, options: argparse.Namespace) -> dict[str, float] | None:
    """Measure in a process of its own; None where that fails, with the reason on stderr."""
    arguments = ["--measure", name, config_name, "--threads", str(options.threads), "--precision", options.precision]
    environment = dict(os.environ)
    if options.keep_freed_memory:
        environment |= KEEP_FREED_MEMORY
    if options.rosinality:
        environment["PYTHONPATH"] = os.pathsep.join([options.rosinality, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}, out of memory perhaps"])[-1]
        print(f"{name}, {config_name}: {reason}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def rows_of(config_name: str, rounds: list[dict[str, dict[str, float]]], batch: int) -> list[list[str]]:
    """Return what was measured of one configuration, a row per library."""
    rows = []
    for name in rounds[0]:
        cells = []
        for kind in ("step", "predict"):
            seconds = [each[name][kind] for each in rounds if name in each]
            cells.append(f"{batch / min(seconds):.3g}")
            ratios = [each["rosinality"][kind] / each[name][kind] for each in rounds if {name, "rosinality"} <= {*each}]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
        memory = max(each[name]["gib"] for each in rounds if name in each)
        rows.append([config_name, name, *cells, f"{memory:.1f}"])
    return rows


def main() -> None:
    """Measure everybody in turn, round after round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rosinality", metavar="PATH", help="a checkout of rosinality/glow-pytorch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is torch's own choice")
    parser.add_argument("--precision", default="auto", help="of flowexpr")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS) if ON_GPU else ON_CPU)
    parser.add_argument("--libraries", nargs="+", choices=["flowexpr", *PEERS], default=["flowexpr", *PEERS])
    parser.add_argument("--keep-freed-memory", action="store_true", help="glibc keeps freed memory, for everybody")
    parser.add_argument("--page", help="under docs/benchmarks, without ending; default speed, or speed_kept_memory")
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "CONFIG"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, config_name = options.measure
        print(json.dumps(measure(name, CONFIGS[config_name], options)))
        return
    header = ["", "library", "training, images/s", "ratio", "prediction, images/s", "ratio", "peak memory, GiB"]
    rows: list[list[str]] = []
    for config_name in options.configs:
        libraries, rounds = list(options.libraries), []
        for _ in range(options.rounds):
            measured = {}
            for name in list(libraries):
                result = measure_apart(name, config_name, options)
                if result is None:
                    libraries.remove(name)  # what fails once fails again
                else:
                    measured[name] = result
            rounds.append(measured)
        rows += rows_of(config_name, rounds, CONFIGS[config_name].batch)
    where = "GPU" if ON_GPU else f"{options.threads or torch.get_num_threads()} threads"
    text = f"{where}, the median ratio of {options.rounds} rounds.\n\n{reporting.table(header, rows)}"
    ours = [row for row in rows if row[1] == "flowexpr" and row[0].startswith("paper")]
    days = [f"{PAPER_IMAGES / float(row[2]) / 86_400:.3g} days ({row[0]})" for row in ours]
    if days:
        text += f"\n\nThe paper's 1200 epochs on 54,511 frames would take flowexpr {', '.join(days)} at this speed."
    reporting.write(options.page or ("speed_kept_memory" if options.keep_freed_memory else "speed"), text)


if __name__ == "__main__":
    main()
