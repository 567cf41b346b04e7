"""The OptunaHub package: what the registry asks for, and that it runs where there is no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "optunahub" / "package" / "samplers" / "nfopt_evolution"
KEYS = ("author", "title", "description", "tags", "optuna_versions", "license")

# No part of torch can be imported; the example's module comes from the folder, not the network.
ALONE = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("no torch here")
sys.meta_path.insert(0, Without())
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("torch was there")
import optuna, optunahub
optuna.logging.set_verbosity(optuna.logging.ERROR)
def local(package):
    return optunahub.load_local_module(package, registry_root={registry!r})
optunahub.load_module = local
code = open({example!r}).read()
exec(compile(code, "example.py", "exec"), {{"__name__": "__main__"}})
assert "torch" not in sys.modules
"""


def test_the_package_has_what_the_registry_asks_for() -> None:
    for name in ("README.md", "LICENSE", "__init__.py", "example.py", "requirements.txt", "tests"):
        assert (PACKAGE / name).exists(), name
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    front = (PACKAGE / "README.md").read_text().split("---\n")[1]
    assert tuple(re.findall(r"^(\w+):", front, re.MULTILINE)) == KEYS
    assert "license: MIT License" in front


def test_its_example_runs_without_torch() -> None:
    code = ALONE.format(
        registry=str(ROOT / "optunahub" / "package"), example=str(PACKAGE / "example.py")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[0]) < 1.0
