"""Train a pool of recipes on many tables: what `nfopt.recipes` is chosen from.

Each recipe (marginal maps, flow, training) of the pool is trained from one seed on each table, at
500 rows, at 2,000 and at all of them. Recipes of one shape and one choice of maps are one stack.
Only training and validation rows are read. A finished stack is a line of results.jsonl for each of
its recipes and a file of scores (validation log-densities, for mixtures); a second call goes on
where the first stopped.

    python studies/portfolio/run.py --data DIR --rows 500          # DIR/*.npz, see studies/data.py
    python studies/portfolio/run.py --data DIR --rows 0 --sets magic htru2 --only "ar6.*muon"
    python studies/portfolio/run.py --tables                       # regret by recipe, the portfolio

Seconds are those of the processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from choose import tables
from pool import Entry, flow_of, pool, stacks

from nfopt import recipes
from nfopt.data import Prepared
from nfopt.model import log_prob
from nfopt.spec import TrainSpec
from nfopt.study.dataset import read
from nfopt.study.stacks import train_stack
from nfopt.training import TrainData

HERE = Path(__file__).parent
SEED = 0
TRAIN_ROWS = 5000  # at most, for the training NLL
TOLD = ["set", "rows", "recipe", "validation", "training", "best_step", "steps", "cpu_seconds"]


def table(path: Path, rows: int) -> Prepared | None:
    """Read a table under the first `rows` training rows of a drawn order; 0: all.

    The validation rows stay, at most 2,000: asked is what a recipe is worth, not how well a tenth
    of few rows tells it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not rows:
            return read(path).data
        with np.load(path) as file:
            parts = {name: file[name] for name in ("train", "val")}
        if len(parts["train"]) <= rows:
            return None
        chosen = np.random.default_rng(SEED).permutation(len(parts["train"]))[:rows]
        parts = {"train": parts["train"][chosen], "val": parts["val"][:2000]}
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / path.name
            np.savez(small, **parts, test=parts["val"][:10])
            return read(small).data


def finished(path: Path) -> list[dict[str, Any]]:
    """Read what earlier calls have trained."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def train(name: str, rows: int, data: Prepared, group: list[Entry], out: Path) -> None:
    """Train a stack and write its lines."""
    prepared = data.under(group[0].marginals)
    spec = flow_of(group[0].flow, prepared.train)
    if spec is None:
        return
    usual = recipes.training(spec.features, len(prepared.train))
    steps = max(1, round(group[0].length * usual.steps))
    trains = [
        TrainSpec(**{"batch_size": usual.batch_size, "steps": steps, **entry.train})
        for entry in group
    ]
    on_device = TrainData.of(prepared)
    began = time.process_time()
    stack, results = train_stack(
        [spec] * len(group),
        trains,
        [SEED + 1000 * k for k in range(len(group))],
        on_device,
        batches=SEED,
        steps=steps,
        seconds=None,
    )
    seconds = (time.process_time() - began) / len(group)
    seen, held_out, _ = prepared.parts
    val = log_prob(stack, on_device.val, None).double().numpy() + held_out.logdet
    fitted = log_prob(stack, on_device.x[:TRAIN_ROWS], None).double().numpy()
    fitted = fitted.mean(axis=1) + seen.logdet[:TRAIN_ROWS].mean()
    folder = out / "scores" / f"{name}-{rows}"
    folder.mkdir(parents=True, exist_ok=True)
    for k, (entry, result) in enumerate(zip(group, results, strict=True)):
        np.save(folder / f"{entry.name.replace(' ', '_')}.npy", val[k].astype(np.float32))
        row = {
            "set": name,
            "rows": rows,
            "recipe": entry.name,
            "validation": round(float(val[k].mean()), 4),
            "training": round(float(fitted[k]), 4),
            "status": result.status,
            "steps": result.steps,
            "best_step": result.best_step,
            "round_trip": float(f"{result.round_trip:.2g}"),
            "cpu_seconds": round(seconds, 2),
            "stack": len(group),
            "curve": [[step, round(-nll, 3)] for step, nll in result.curve],
        }
        with (out / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(*(row[key] for key in TOLD), flush=True)


def main() -> None:
    """Train what is not trained yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder of NPZ files")
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 2000, 0])
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--only", default="", help="a regular expression of recipes")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--tables", action="store_true", help="print what was found")
    arguments = parser.parse_args()
    results = arguments.out / "results.jsonl"
    if arguments.tables:
        print("\n".join(tables(finished(results))))
        return
    if arguments.data is None:
        parser.error("--data is needed: a folder of NPZ files")
    torch.set_num_threads(1)
    paths = sorted(arguments.data.glob("*.npz"))
    if arguments.sets:
        paths = [path for name in arguments.sets for path in paths if path.stem == name]
    for rows in arguments.rows:
        for path in paths:
            known = {(row["set"], row["rows"], row["recipe"]) for row in finished(results)}
            entries = [
                entry
                for entry in pool(few=bool(rows))
                if re.search(arguments.only, entry.name)
                and (path.stem, rows, entry.name) not in known
            ]
            if not entries or (data := table(path, rows)) is None:
                continue
            for group in stacks(entries):
                train(path.stem, rows, data, group, arguments.out)


if __name__ == "__main__":
    main()
