"""All benchmarks, one after another, each in a process of its own that writes its page of the documentation.

    python benchmarks [--only NAME ...] [--data FOLDER:LAYOUT ...] [--jaffe FOLDER] [--rosinality PATH] [--keep DIR]

Without further arguments those run that need nothing from outside: drawn faces and tables that come with scikit-learn.
``--data`` names data sets of faces, as in setting.py; ``--jaffe`` JAFFE's own folder, for the detectors;
``--rosinality`` a checkout of rosinality/glow-pytorch. Fits and models are kept in DIR, so that the same command goes
on where it was stopped. All of it takes days on a laptop; ``--list`` says what would run. What fails is told at the
end, and the others run all the same.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WITHOUT_ARGUMENTS = (
    "vectors",
    "semi_supervised",
    "stability",
    "memory",
    "scaling",
    "ceiling",
    "loading",
    "video",
    "fuzz",
)


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the arguments of every benchmark that can run with what is given."""
    data, kept = options.data, options.keep
    resumed = [*data, "--resume", str(kept / "fits")]
    arguments: dict[str, list[str]] = {name: [] for name in WITHOUT_ARGUMENTS}
    arguments["speed"] = ["--rosinality", str(options.rosinality.resolve())] if options.rosinality else []
    arguments |= dict.fromkeys(("exactness", "imbalance"), data)
    arguments |= dict.fromkeys(("probabilities", "tradeoff"), resumed)
    arguments["explanation"] = [*data, "--models", str(kept / "models")]
    arguments["latent_space"] = ["--keep", str(kept / "latents")]
    arguments["morph"] = ["--models", str(kept / "models")]
    if data:
        arguments["accuracy"] = resumed
    arguments["neutral"] = [f"{options.jaffe}:jaffe"] if options.jaffe else []
    if options.jaffe:
        arguments["faces"] = [str(options.jaffe)]
    return arguments


def main() -> int:
    """Run them; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benchmarks alone")
    parser.add_argument("--data", nargs="+", default=[], metavar="FOLDER:LAYOUT", help="data sets of faces")
    parser.add_argument("--jaffe", type=Path, metavar="FOLDER", help="JAFFE's photographs")
    parser.add_argument("--rosinality", type=Path, metavar="PATH", help="a checkout of rosinality/glow-pytorch")
    parser.add_argument("--keep", type=Path, default=Path("benchmark-fits"), metavar="DIR", help="where fits are kept")
    parser.add_argument("--list", action="store_true", help="say what would run, and run nothing")
    options = parser.parse_args()
    possible = commands(options)
    unknown = sorted(set(options.only or []) - set(possible))
    if unknown:
        parser.error(
            f"{', '.join(unknown)}: unknown, or in need of --data or --jaffe. Pass some of {', '.join(possible)}."
        )
    failed = []
    for name in options.only or possible:
        given = possible[name]
        print(f"== python benchmarks/{name}.py {shlex.join(given)}", flush=True)
        if not options.list and subprocess.run([sys.executable, HERE / f"{name}.py", *given]).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
