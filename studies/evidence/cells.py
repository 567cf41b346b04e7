"""What is computed: a cell is one method on one table, for some seconds, from one seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

SETS = ("magic", "gasturbine", "htru2", "higgs35k", "satimage", "power_head")
FEW = ("magic", "gasturbine", "htru2", "higgs35k", "satimage", "miniboone_vt")
VERSUS = ("magic", "gasturbine", "htru2", "higgs35k", "satimage")
PORTFOLIO = ("magic", "htru2", "satimage")
LADDER = ("magic", "gasturbine", "higgs35k")
FEW_AGAIN = ("magic", "htru2")  # at 500 rows, of versus and ladder
ROWS = 500
SEEDS = (0, 1, 2)

FIT, ONE, SEARCH, AUTONF = "fit", "fit --members 1", "search", "autonf"
NO_EVOLUTION = "search --sampler random"  # behind the portfolio, random trials
PEERS = ("zuko", "sbi", "tpe", "mixture", "vine")
STEPS = {  # of the ladder, in its order
    "zuko": "zuko's recipe",
    "engine": "our engine, the same recipe",
    "engine + maps": "+ marginal maps",
    "engine + maps + muon": "+ Muon",
    ONE: "+ length and portfolio (`fit --members 1`)",
    FIT: "+ mixture (`fit`)",
    SEARCH: "+ search",
    "zuko + maps + muon": "zuko's recipe under our maps and `torch.optim.Muon`",
}


@dataclass(frozen=True)
class Cell:
    """One method on one table.

    Attributes:
        method: A command of nfopt with its options, a peer, or a step of the ladder.
        set: Name of the table.
        rows: Training rows that are drawn from it; 0: all.
        seconds: That the method gets.
        seed: Of the method, and of the rows that are drawn.
    """

    method: str
    set: str
    rows: int
    seconds: int
    seed: int

    @property
    def name(self) -> str:
        """As `--only` matches it."""
        size = f"{self.rows} rows" if self.rows else "all rows"
        return f"{self.method}, {self.set}, {size}, {self.seconds} s, seed {self.seed}"


def plan() -> dict[str, list[Cell]]:
    """List all cells by the part of the evidence that first needs them, in the order of work."""
    parts = {
        "search against fit": _cells((FIT, SEARCH), SETS, 0, (180, 600), SEEDS),
        "500 rows": _cells((FIT, SEARCH), FEW, ROWS, (180,), SEEDS),
        "versus": [
            *_cells((FIT, SEARCH, ONE, *PEERS), VERSUS, 0, (180,), SEEDS[:1]),
            *_cells((FIT, SEARCH, ONE, *PEERS), FEW_AGAIN, ROWS, (180,), SEEDS[:1]),
        ],
        "evolution": _cells((NO_EVOLUTION, SEARCH), PORTFOLIO, 0, (600,), SEEDS),
        "ladder": [
            *_cells(tuple(STEPS), LADDER, 0, (180,), SEEDS[:2]),
            *_cells(tuple(STEPS), FEW_AGAIN, ROWS, (180,), SEEDS[:2]),
        ],
        "autonf": _cells((AUTONF, FIT), VERSUS, 0, (180,), SEEDS[:1]),
    }
    seen: set[Cell] = set()
    for part, cells in parts.items():
        parts[part] = [cell for cell in cells if cell not in seen]
        seen |= set(cells)
    return parts


def _cells(
    methods: tuple[str, ...],
    sets: tuple[str, ...],
    rows: int,
    seconds: tuple[int, ...],
    seeds: tuple[int, ...],
) -> list[Cell]:
    """Cross all; the methods innermost, so that what is compared runs side by side."""
    return [
        Cell(method, name, rows, length, seed)
        for length, name, seed, method in product(seconds, sets, seeds, methods)
    ]


def todo(wanted: Iterator[Cell], done: list[dict[str, object]], commit: str) -> list[Cell]:
    """Leave out what is done at this commit."""
    known = {tuple(row[key] for key in KEYS) for row in done}
    return [cell for cell in wanted if (commit, *astuple(cell)) not in known]


KEYS = ("commit", "method", "set", "rows", "seconds", "seed")


def drawn(
    parts: dict[str, NDArray[np.floating]], name: str, rows: int, seed: int
) -> dict[str, NDArray[np.floating]]:
    """Draw some training rows of a table, and a quarter as many for validation; all test rows stay.

    miniboone_vt is without its column 4, nine per cent of which is one value.
    """
    if name == "miniboone_vt":
        parts = {part: np.delete(array, 4, axis=1) for part, array in parts.items()}
    rng = np.random.default_rng(seed)
    found = dict(parts)
    for part, count in (("train", rows), ("val", rows // 4)):
        found[part] = parts[part][rng.permutation(len(parts[part]))[:count]]
    return found
