"""What `import flowexpr` brings: beyond torch and scikit-learn itself and two small packages; and what is public."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "docs" / "api.rst"

PROGRAM = """
import json, sys
import torch, sklearn.model_selection
try:
    import sklearn.callback
except ImportError:  # scikit-learn < 1.9
    pass
before = set(sys.modules)
import flowexpr
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_import_brings_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout)
    packages = {name.partition(".")[0] for name in modules}
    assert "flowexpr" in packages
    assert packages - set(sys.stdlib_module_names) <= {"flowexpr", "numpy", "safetensors", "tqdm"}
    assert not [name for name in modules if name.startswith(("flowexpr.cli", "flowexpr.display", "flowexpr.faces"))]


def public_names():
    """Return every name that a module which the reference lists exports, as "module.name"."""
    modules = re.findall(r"currentmodule:: (\S+)", REFERENCE.read_text("utf-8"))
    return {
        f"{module}.{name}"
        for module in modules
        for name in importlib.import_module(module).__all__
        if module != "flowexpr.flows"
    }


def test_the_reference_lists_all_that_is_public():
    listed, module = set(), ""
    for line in REFERENCE.read_text("utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            listed.add(f"{module}.{line.strip()}")
    assert public_names() - listed == {"flowexpr.PAPER"}  # described in prose
    for name in listed:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
