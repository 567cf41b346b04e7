"""One cell in a process of its own: what nfopt delivered, a peer, or a step of the ladder.

    python studies/evidence/cell.py METHOD DATA SECONDS SEED OUT [--flow DIR]

Writes OUT.json (what is told of it) and OUT.npy (log-density of each test row, nats). With --flow
nothing is fitted: the flow in DIR is scored.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from ladder import rivals

import nfopt
from nfopt.compare.ours import of_flow
from nfopt.compare.rival import Rival
from nfopt.compare.run import Row, compare, measured
from nfopt.data import Prepared
from nfopt.study.dataset import read

POINTS = 60  # of a curve that are kept


def delivered(folder: Path, method: str, data: Prepared, seed: int) -> Row:
    """Score a flow that a command has saved."""
    flow = nfopt.load(folder)
    parameters = sum(spec.parameter_count() for spec in flow.specs)
    structure = " | ".join(dict.fromkeys(spec.summary() for spec in flow.specs))
    fitted = of_flow(flow, seed, parameters, structure, [])

    def fit(*args: Any) -> Any:
        raise NotImplementedError

    return measured(Rival(method, "", fit, ours=True), fitted, data, math.nan)


def told(row: Row) -> dict[str, Any]:
    """Give what the results file holds of a row."""
    if row.failed:
        return {"failed": row.failed}
    number = {
        "validation": round(row.validation, 5),
        "test": round(row.test, 5),
        "test_2se": round(row.test_2se, 5),
        "without_density": row.without,
        "parameters": row.parameters,
        "what": row.what,
        "score_seconds": round(row.score_seconds, 4),
        "sample_seconds": None if row.sample_seconds is None else round(row.sample_seconds, 4),
    }
    if row.curve:
        number["curve"] = [[round(s, 2), round(nll, 4)] for s, nll in improvements(row.curve)]
    return number


def improvements(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep at most `POINTS` points at which a curve was lower than before, the last one too."""
    lowest, kept = math.inf, []
    for seconds, nll in curve:
        if nll < lowest:
            lowest = nll
            kept.append((seconds, nll))
    places = np.unique(np.linspace(0, len(kept) - 1, min(POINTS, len(kept))).round().astype(int))
    return [kept[place] for place in places]


def main() -> None:
    """Fit or load, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("method")
    parser.add_argument("data", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--flow", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    data = read(str(given.data), seed=given.seed, on_warning=lambda text: None).data
    if given.flow is None:
        rival = rivals()[given.method]
        (row,) = compare(data, [rival], seconds=given.seconds, seed=given.seed)
    else:
        row = delivered(given.flow, given.method, data, given.seed)
    found = told(row) | {"fingerprint": data.fingerprint[:12]}  # two folders may have a magic each
    given.out.with_suffix(".json").write_text(json.dumps(found))
    np.save(given.out.with_suffix(".npy"), row.scores.astype(np.float32))


if __name__ == "__main__":
    main()
