"""The house rules of CONTRIBUTING.md: floors, no circles, short modules, light lower floors."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 350
MAX_MODULES = 16  # of a folder, `__init__` not counted

FLOORS = (
    (
        "errors",
        "files",
        "signals",
        "masks",
        "designs",
        "adjacency",
        "dependence",
        "layers",
        "spec",
        "attributes",
        "data",
    ),
    ("flows",),
    ("model", "training", "recipes", "space", "evolution", "seeds", "optuna_internals", "stored"),
    ("export", "samplers", "autonf", "storage", "calibration"),
    ("distributed", "events"),
    ("suggest", "study"),
    ("runner", "report"),
    ("api", "estimators", "sbi", "compare", "cli", "__main__", ""),  # "" is nfopt/__init__.py
)
FLOOR_OF = {place: floor for floor, places in enumerate(FLOORS) for place in places}

# What a place may import on its own floor. Inside a place, anything without circles.
SAME_FLOOR = {
    "masks": {"errors"},
    "designs": {"errors", "masks", "dependence"},
    "adjacency": {"errors", "masks"},
    "dependence": {"errors"},
    "layers": {"adjacency"},
    "spec": {"errors", "masks", "adjacency", "layers"},
    "data": {"errors"},
    "training": {"model"},
    "stored": {"optuna_internals", "space"},
    "distributed": {"events"},
    "study": {"suggest"},
    "api": {""},
    "estimators": {"api"},
    "sbi": {"api"},
    "compare": {"api"},
    "cli": {"", "api", "compare"},
    "__main__": {"cli"},
    "": {"api", "estimators"},
}

# Libraries that only these places may import; the cores know nothing of storage or command line.
ONLY_IN = {
    "torch": {place for floor in FLOORS[1:] for place in floor}
    - {"space", "evolution", "optuna_internals", "storage", "stored"},
    "optuna": {"space", "optuna_internals", "stored", "samplers", "storage"}
    | {place for floor in FLOORS[4:] for place in floor},
    "sqlalchemy": {"storage"} | {place for floor in FLOORS[4:] for place in floor},
    "matplotlib": {"report", "compare"},
    "plotly": {"report"},
    "typer": {"cli"},
}


def modules(root: Path) -> dict[str, Path]:
    """Every module under root/nfopt by its dotted name."""
    names = {}
    for path in sorted((root / "nfopt").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported(module: str, path: Path, known: Iterable[str]) -> Iterator[str]:
    """What a file imports anywhere in it: our modules by full name, others by their first part."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            names = [
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base
                for alias in node.names
            ]
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        else:
            continue
        for name in names:
            yield name if name.split(".")[0] == "nfopt" else name.split(".")[0]


def graph(root: Path) -> dict[str, set[str]]:
    known = modules(root)
    return {name: set(imported(name, path, known)) - {name} for name, path in known.items()}


def place(module: str) -> str:
    """The row of the table that a module belongs to."""
    return [*module.split("."), ""][1]


def climbs(edges: dict[str, set[str]]) -> list[str]:
    """Imports of nfopt that the table does not allow."""
    wrong = []
    for name, targets in edges.items():
        here = place(name)
        if here not in FLOOR_OF:
            wrong.append(f"{name} stands on no floor: add it to FLOORS and to CONTRIBUTING.md")
            continue
        for target in targets:
            there = place(target)
            if not target.startswith("nfopt") or there == here:
                continue
            lower = FLOOR_OF.get(there, len(FLOORS)) < FLOOR_OF[here]
            if not lower and there not in SAME_FLOOR.get(here, set()):
                wrong.append(f"{name} may not import {target}")
    return sorted(wrong)


def circle(edges: dict[str, set[str]]) -> list[str] | None:
    """The first circle of imports found, as a path that ends where it starts."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for target in sorted(edges.get(name, ())):
            if found := visit(target, [*path, name]):
                return found
        done.add(name)
        return None

    return next((found for name in sorted(edges) if (found := visit(name, []))), None)


def strangers(edges: dict[str, set[str]]) -> list[str]:
    """Libraries imported from a place that should know nothing of them."""
    return sorted(
        f"{name} imports {target}"
        for name, targets in edges.items()
        for target in targets
        if place(name) not in ONLY_IN.get(target, FLOOR_OF)
    )


# What Optuna keeps to itself in studies and trials; also where a class of ours has the same name.
OPTUNAS = {"_storage", "_study_id", "_trial_id", "_cached_frozen_trial", "_thread_local"}
INTERNALS = "nfopt.optuna_internals"
ANYONES = {"_exit"}  # of `os`


def intrusions(root: Path) -> list[str]:
    """Private names of others that a module of nfopt reads, imports or asks for by name.

    A private attribute is ours if the module that reads it sets it, or defines a method of it.
    """
    return sorted(
        f"{module}:{line} {what}"
        for module, path in modules(root).items()
        if module != INTERNALS
        for line, what in _intrusions(ast.parse(path.read_text(encoding="utf-8")))
    )


def _intrusions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    nodes = list(ast.walk(tree))
    ours = {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    ours |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and _set(n)}
    ours |= {n.id for n in nodes if isinstance(n, ast.Name) and _set(n)}
    for node in nodes:
        match node:
            case ast.Attribute(value=of, attr=name) if _private(name) and name not in ANYONES:
                own = isinstance(of, ast.Name) and of.id in ("self", "cls")
                if name not in ours or (name in OPTUNAS and not own):
                    yield node.lineno, ast.unparse(node)
            case ast.ImportFrom(module=str(of), level=0) if not of.startswith("nfopt"):
                for alias in node.names:
                    if any(map(_private, [*of.split("."), alias.name])):
                        yield node.lineno, f"{of}.{alias.name}"
            case ast.Call(func=ast.Name(id="getattr" | "hasattr" | "setattr"), args=[_, name, *_]):
                if isinstance(name, ast.Constant) and _private(str(name.value)):
                    yield node.lineno, ast.unparse(node)


def _set(node: ast.Attribute | ast.Name) -> bool:
    """Whether an attribute is set of one's own class, or a name of one's own module."""
    own = isinstance(node, ast.Name) or ast.unparse(node.value) in ("self", "cls")
    return own and isinstance(node.ctx, ast.Store)


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_what_others_keep_to_themselves_is_read_in_one_module() -> None:
    assert intrusions(ROOT) == []


def test_imports_never_climb() -> None:
    assert climbs(graph(ROOT)) == []


def test_imports_have_no_circle() -> None:
    assert circle(graph(ROOT)) is None


def test_lower_floors_stay_light() -> None:
    assert strangers(graph(ROOT)) == []


def unchecked(root: Path) -> list[str]:
    """Reads of a study's or trials' attributes that pass `nfopt.stored` by."""
    reads = {"get_trials", "get_all_trials", "get_study_user_attrs"}
    raw = {"trials_of", "attributes_of", "read_trial"}  # of `optuna_internals`
    found = []
    for name, path in modules(root).items():
        if name.startswith(READ_AS_THEY_ARE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in reads:
                found.append(f"{name}:{node.lineno} reads {called.attr}")
            if isinstance(node, ast.ImportFrom) and node.module == "nfopt.optuna_internals":
                both = raw.intersection(alias.name for alias in node.names)
                found += [f"{name}:{node.lineno} imports {one}" for one in sorted(both)]
    return sorted(found)


# Optuna's own storages and pages, which hand on what they have without a look at it.
READ_AS_THEY_ARE = (
    "nfopt.storage.",
    "nfopt.stored",
    "nfopt.optuna_internals",
    "nfopt.report.dashboard",
)


def test_what_a_storage_holds_is_read_checked() -> None:
    assert unchecked(ROOT) == []


def test_modules_stay_short() -> None:
    lines = {
        name: len(path.read_text("utf-8").splitlines()) for name, path in modules(ROOT).items()
    }
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def crowded(root: Path) -> dict[str, int]:
    """Folders of nfopt with too many modules."""
    counts = Counter(
        str(path.parent.relative_to(root))
        for path in modules(root).values()
        if path.name != "__init__.py"
    )
    return {folder: count for folder, count in counts.items() if count > MAX_MODULES}


def missing(root: Path, places: Iterable[str]) -> list[str]:
    """Places that are no module and no package of nfopt."""
    files = {place: root / "nfopt" / (place or "__init__") for place in places}
    return [
        place
        for place, path in files.items()
        if not path.with_suffix(".py").is_file() and not (path / "__init__.py").is_file()
    ]


def test_no_folder_is_crowded() -> None:
    assert crowded(ROOT) == {}


def test_every_place_of_the_table_exists() -> None:
    assert missing(ROOT, FLOOR_OF) == []


def test_the_page_and_the_test_have_the_same_floors() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| ")]
    told = {
        (int(floor), name.strip(" `/").removesuffix(".py").removesuffix("__init__"))
        for floor, names in rows
        if floor.strip().isdigit()
        for name in names.split(",")
    }
    assert told == {(floor, name) for name, floor in FLOOR_OF.items()}


# The checks themselves, each on a small house with one fault.


def house(tmp_path: Path, files: dict[str, str]) -> dict[str, set[str]]:
    for name, text in files.items():
        path = tmp_path / "nfopt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return graph(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "from nfopt.flows import build",
        "import nfopt.flows",
        "from nfopt import flows",
        "from .flows import build",
        "from . import flows",
        "def f():\n    from nfopt.flows import build",
        "def f():\n    import importlib\n    importlib.import_module('nfopt.flows')",
        "from nfopt import __version__",
    ],
)
def test_a_climbing_import_is_seen(tmp_path: Path, text: str) -> None:
    edges = house(tmp_path, {"__init__.py": "", "masks.py": text, "flows/__init__.py": ""})
    assert len(climbs(edges)) == 1


def test_a_sibling_that_the_table_does_not_name_is_seen(tmp_path: Path) -> None:
    edges = house(tmp_path, {"masks.py": "from nfopt import spec", "spec.py": ""})
    assert climbs(edges) == ["nfopt.masks may not import nfopt.spec"]
    edges = house(tmp_path, {"masks.py": "", "spec.py": "from .masks import parse"})
    assert climbs(edges) == []


def test_a_crowded_folder_is_seen(tmp_path: Path) -> None:
    house(tmp_path, {f"flows/m{k}.py": "" for k in range(MAX_MODULES)} | {"flows/__init__.py": ""})
    assert crowded(tmp_path) == {}
    house(tmp_path, {"flows/one_more.py": ""})
    assert crowded(tmp_path) == {"nfopt/flows": MAX_MODULES + 1}


def test_a_place_that_is_listed_and_not_there_is_seen(tmp_path: Path) -> None:
    house(tmp_path, {"__init__.py": "", "masks.py": "", "flows/__init__.py": "", "empty/x.txt": ""})
    assert missing(tmp_path, ["", "masks", "flows", "empty", "estimator"]) == ["empty", "estimator"]


def test_a_module_without_a_floor_is_seen(tmp_path: Path) -> None:
    assert len(climbs(house(tmp_path, {"attic.py": ""}))) == 1


def test_a_circle_inside_functions_is_seen(tmp_path: Path) -> None:
    edges = house(
        tmp_path,
        {
            "flows/__init__.py": "from .stack import build",
            "flows/stack.py": "from nfopt.flows.maps import affine",
            "flows/maps.py": "def f():\n    from . import stack",
        },
    )
    assert climbs(edges) == []
    assert circle(edges) == ["nfopt.flows.stack", "nfopt.flows.maps", "nfopt.flows.stack"]


def test_a_library_on_the_wrong_floor_is_seen(tmp_path: Path) -> None:
    edges = house(
        tmp_path, {"masks.py": "def f():\n    import torch.nn", "flows.py": "import torch"}
    )
    assert strangers(edges) == ["nfopt.masks imports torch"]


@pytest.mark.parametrize(
    "text",
    [
        "study._storage",
        "candidate.trial._trial_id = 3",
        "class A:\n    def __init__(self, study):\n        self._storage = study._storage",
        "from optuna.pruners import _filter_study",
        "from optuna.storages._heartbeat import BaseHeartbeat",
        "getattr(storage, '_backend', None)",
        "class A(Proxy):\n    def where(self):\n        return self._host",
    ],
)
def test_a_private_part_of_optuna_is_seen(tmp_path: Path, text: str) -> None:
    house(tmp_path, {"study.py": text, "optuna_internals.py": text})
    assert len(intrusions(tmp_path)) == 1
    assert intrusions(tmp_path)[0].startswith("nfopt.study:")


def test_private_parts_of_ones_own_are_no_intrusion(tmp_path: Path) -> None:
    text = "class A:\n    def __init__(self):\n        self._n = 1\n    def n(self, other):\n"
    house(tmp_path, {"study.py": text + "        return self._n + other._n"})
    assert intrusions(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "def f(study):\n    return study.get_trials()",
        "import math\nfrom nfopt.optuna_internals import trials_of",
    ],
)
def test_an_unchecked_read_is_seen(tmp_path: Path, text: str) -> None:
    house(tmp_path, {"report/page.py": text})
    assert len(unchecked(tmp_path)) == 1
