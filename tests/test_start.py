"""What importing nfopt and asking for help may load, seen in a fresh process."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import nfopt

HEAVY = {
    "alembic",
    "matplotlib",
    "numpy",
    "optuna",
    "optuna_dashboard",
    "pandas",
    "plotly",
    "pyarrow",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "torch",
}


def loaded_by(code: str) -> set[str]:
    """The heavy libraries in sys.modules after a fresh process ran the code."""
    report = f"{code}\nimport sys\nprint('loaded:', *({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "code",
    [
        "import nfopt",
        "import nfopt; dir(nfopt)",
        "import nfopt.cli",
        "from nfopt.cli import app\napp(['--help'], standalone_mode=False)",
    ],
)
def test_start_is_light(code: str) -> None:
    assert loaded_by(code) == set()


PAGE = """
import optuna
from optuna.trial import create_trial
from nfopt.report.page import facts_of_study, html_page
study = optuna.create_study()
study.add_trials([create_trial(value=1.0), create_trial(value=2.0)])
assert "Best so far" in html_page(facts_of_study(study))
"""


def test_a_page_from_a_storage_needs_no_torch() -> None:
    assert not loaded_by(PAGE) & {"torch", "scipy", "sklearn", "optuna_dashboard"}


SERVE = """
import warnings
warnings.simplefilter("ignore")
from nfopt.storage.serve import serve
serve("sqlite:///{folder}/s.db", port={port}, should_stop=lambda: True)
from nfopt.storage.open import exists, open_storage
assert exists("sqlite:///{folder}/s.db")
"""


def test_serving_a_storage_needs_no_torch(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    loaded = loaded_by(SERVE.format(folder=tmp_path, port=port))
    assert loaded >= {"optuna", "sqlalchemy"}
    assert not loaded & {"matplotlib", "optuna_dashboard", "pandas", "plotly", "sklearn", "torch"}


def test_the_probe_sees_a_heavy_library() -> None:
    assert "numpy" in loaded_by("import numpy")


def test_an_unknown_name_is_an_attribute_error() -> None:
    import nfopt

    with pytest.raises(AttributeError, match=r"module 'nfopt' has no attribute 'serch'"):
        _ = nfopt.serch


def test_version_matches_the_installed_package() -> None:
    import importlib.metadata

    import nfopt

    assert importlib.metadata.version("nfopt") == nfopt.__version__


def test_the_version_is_the_same_wherever_it_stands() -> None:
    import nfopt

    root = Path(__file__).parent.parent
    assert f"\nversion: {nfopt.__version__}\n" in (root / "CITATION.cff").read_text()
    latest = re.search(r"^## \[(.*?)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest is not None
    assert latest[1] in (nfopt.__version__, "Unreleased")


def test_every_public_name_is_there() -> None:
    import nfopt

    assert {name for name in nfopt.__all__ if not hasattr(nfopt, name)} == set()


def test_type_checkers_see_the_names_that_are_loaded_on_first_use() -> None:
    tree = ast.parse(Path(nfopt.__file__).read_text(encoding="utf-8"))
    blocks = [part for part in tree.body if isinstance(part, ast.If)]
    (block,) = (part for part in blocks if ast.unparse(part.test) == "TYPE_CHECKING")
    imports = [part for part in block.body if isinstance(part, ast.ImportFrom)]
    seen = {name.asname: part.module for part in imports for name in part.names}
    assert seen == nfopt._HOME | nfopt._EXTRA
