"""A folder such as a new user has: a table, two saved flows, a small study; and a way to run."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from nfopt.cli import run
from nfopt.data import load, prepare, split
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.recipes import autoregressive
from nfopt.spec import Recipe, TrainSpec

TINY = """
kind = "coupling"
depth = 2
width = 8
hidden_layers = 1
maps = "affine"
steps = 40
"""
SEARCH = ("search", "data.csv", "--space", "tiny.toml", "--threads", "1")


def tiny_recipes(patch: pytest.MonkeyPatch) -> None:
    """Put a flow that trains in no time in the place of the recipes."""

    def recipe(features: int, rows: int, *, context_features: int = 0, **more: Any) -> Recipe:
        flow = autoregressive(features, depth=1, width=8, context_features=context_features)
        return Recipe(flow, TrainSpec(steps=40, batch_size=64), "asinh")

    patch.setattr("nfopt.api.recipe", recipe)
    for place in ("nfopt.api", "nfopt.runner.options"):
        patch.setattr(f"{place}.portfolio", lambda *args, **more: [recipe(*args, **more)])


def furnish(folder: Path, *, study: bool) -> None:
    """Write data.csv (a, b, c, größe), tiny.toml, model, conditional and, in a storage, `toy`."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4))
    rows[:, 2] += rows[:, 0]
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "größe"])
    frame.to_csv(folder / "data.csv", index=False)
    frame[["c"]].to_csv(folder / "context.csv", index=False)
    (folder / "tiny.toml").write_text(TINY)
    for name, context in (("model", None), ("conditional", ["c"])):
        table = load(frame, columns=["a", "b"], context=context)
        data = prepare(table, split(table, seed=0), 0)
        spec = autoregressive(2, depth=1, width=8, context_features=len(context or ()))
        (stack,) = build([spec], torch.Generator().manual_seed(0))
        Flow.of(stack, data.preprocessing, {"name": name}).save(folder / name)
    if study:
        words = [*SEARCH, "--study", "toy", "--trials", "2", "--out", str(folder / "found")]
        words[1], words[3] = str(folder / "data.csv"), str(folder / "tiny.toml")
        words += ["--storage", f"sqlite:///{folder}/nfopt-runs/nfopt.db", "--json"]
        with pytest.MonkeyPatch.context() as patch:
            tiny_recipes(patch)
            assert run(words) == 0


def snapshot(folder: Path) -> dict[str, str]:
    """All files by their content; of a database, what a dump of it says."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".db" and path.read_bytes()[:6] == b"SQLite":
            with sqlite3.connect(path) as connection:
                text = "\n".join(connection.iterdump()).encode()
            connection.close()
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")):
            text = path.read_bytes()
        else:
            continue
        found[str(path.relative_to(folder))] = hashlib.sha256(text).hexdigest()
    return found
