"""The pages say what the code does: limits with defaults, attributes; what they name exists."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import numpy as np
import optuna
import pytest

from nfopt import api
from nfopt import attributes as names
from nfopt.samplers.trials import ORIGIN
from nfopt.space import KEYS, KINDS
from nfopt.spec import Conditioner, Coupling, FlowSpec, Recipe, TrainSpec

DOCS = Path(__file__).parent.parent / "docs"
SOMETIMES = {
    ORIGIN,
    names.REASON,
    names.FIRST,
    names.REPEATS,
    names.RETRY_OF,
    names.AGAIN,
    names.CHECKPOINT,
    names.WEIGHTS,
}
# not of a study in memory, or only if asked for
STORED_ELSEWHERE = {names.ARTIFACTS, names.ARTIFACTS_TOKEN, names.LEASE_SECONDS, names.KEPT}
NET = Conditioner(width=8, hidden_layers=1)
TINY = Recipe(
    FlowSpec(features=2, layers=(Coupling(mask="CT", conditioner=NET),)),
    TrainSpec(steps=40, batch_size=64),
)


def rows(page: str, heading: str = "") -> dict[str, list[str]]:
    """The rows of a page's tables whose first cell is code, by it; from a heading to the next."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if heading:
        text = re.split(r"^## ", text.split(f"## {heading}\n")[1], flags=re.MULTILINE)[0]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("` "): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_every_limit_is_in_the_page_with_its_default_and_kinds() -> None:
    told = rows("search_space.md", "Keys")
    assert told.keys() == KEYS.keys()
    for key, rule in KEYS.items():
        _, default, kinds, *_ = told[key]
        value = tomllib.loads(f"value = {default.strip('`')}")["value"]
        assert tuple(value if isinstance(value, list) else [value]) == rule.default, key
        assert (KINDS if kinds == "all" else tuple(kinds.split(", "))) == tuple(
            kind for kind in KINDS if kind in rule.kinds
        ), key
    assert rows("search_space.md", "Kinds").keys() == set(KINDS)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> optuna.Study:
    """A tiny study: two trials, one of them a recipe."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "recipe", lambda *args, **more: TINY)
        patch.setattr(api, "portfolio", lambda *args, **more: [TINY])
        patch.setattr("nfopt.runner.options.portfolio", lambda *args, **more: [TINY])
        return api.search(
            np.random.default_rng(0).normal(size=(200, 2)),
            trials=2,
            space={"kind": "coupling", "depth": [1, 2], "width": 8, "maps": "affine"},
            storage=optuna.storages.InMemoryStorage(),
            out=tmp_path_factory.mktemp("out"),
        ).study


def test_every_attribute_of_a_trial_is_in_the_page(study: optuna.Study) -> None:
    told = rows("trials.md", "Attributes of a trial").keys()
    for trial in study.trials:
        written = {name for name in trial.user_attrs if name.startswith(names.PREFIX)}
        assert written <= told
        assert told - written <= SOMETIMES
    assert names.FIRST in study.trials[0].user_attrs
    assert told >= SOMETIMES


def test_every_attribute_of_a_study_is_in_the_page(study: optuna.Study) -> None:
    told = rows("trials.md", "Attributes of a study").keys()
    written = {name for name in study.user_attrs if name.startswith(names.PREFIX)}
    assert written == told - STORED_ELSEWHERE
    assert told >= STORED_ELSEWHERE


# ------------------------------------------------------------------- what every page points to

ROOT = DOCS.parent
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "studies/*/README.md", "optunahub/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # history: what it names may be gone
)
FOLDERS = "docs|examples|nfopt|optunahub|studies|tests"
FILE = re.compile(rf"(?<![\w./:-])(?:{FOLDERS})/[\w./-]*\w")
MODULE = re.compile(r"(?<![\w./:-])nfopt(?:\.[A-Za-z_]\w*)+(?![\w/])")


def heading_anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in heading_anchors(file.read_text(encoding="utf-8")), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    named = FILE.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def resolves(name: str) -> bool:
    """Whether a dotted name is a module of nfopt, or an attribute of one."""
    value: object = importlib.import_module("nfopt")
    module = "nfopt"
    for part in name.split(".")[1:]:
        module += f".{part}"
        try:
            value = importlib.import_module(module)
        except ModuleNotFoundError:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
    return True


@pytest.mark.parametrize("page", PAGES)
def test_names_of_nfopt_that_a_page_uses_exist(page: str) -> None:
    names = set(MODULE.findall((ROOT / page).read_text(encoding="utf-8")))
    assert sorted(name for name in names if not resolves(name)) == []


def test_a_name_that_is_gone_is_seen() -> None:
    assert resolves("nfopt.study.weights.kept_flow")
    assert resolves("nfopt.EvolutionSampler")
    assert not resolves("nfopt.study.no_such_function")
    assert FILE.findall("see `nfopt/gone.py`, a/nfopt/x and sqlite:///nfopt-runs/nfopt.db") == [
        "nfopt/gone.py"
    ]
    assert MODULE.findall("`nfopt.gone.name`, nfopt-runs/nfopt.db") == ["nfopt.gone.name"]


def test_every_page_is_reached_from_the_first_one() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(docs/([\w.]+\.md)\)", text))
    assert linked == {path.name for path in DOCS.glob("*.md")}
