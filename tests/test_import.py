"""`import flowexpr` stays light: what it brings beyond torch and scikit-learn is itself and two small packages."""

import json
import subprocess
import sys

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
    assert packages - set(sys.stdlib_module_names) <= {"flowexpr", "safetensors", "tqdm"}
    assert not [name for name in modules if name.startswith(("flowexpr.cli", "flowexpr.display", "flowexpr.faces"))]
