"""studies/sbi: what is computed, in which order, and its tables, without sbi and any training."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "studies" / "sbi"


def test_the_first_seed_at_10000_comes_first() -> None:
    from run import FLOOR, METHODS, TASKS, plan

    cells = plan()
    assert len(cells) == len(set(cells)) == 2 * len(TASKS) * (3 * len(METHODS) + 1)
    first = cells[: len(TASKS) * (len(METHODS) + 1)]
    assert {(cell.simulations, cell.seed) for cell in first} == {(10_000, 0)}
    assert {cell.seed for cell in cells if cell.method == FLOOR} == {0}
    assert [cell.simulations for cell in cells] == sorted(
        (cell.simulations for cell in cells), reverse=True
    )


def test_what_was_done_is_read_again_and_what_was_not_is_named(tmp_path: Path) -> None:
    from run import Cell, finished, tables

    cells = [Cell(10_000, seed, "slcp", "nfopt search") for seed in (0, 1)]
    lines = [
        json.dumps({**cell._asdict(), "c2st": [0.7, 0.8 + cell.seed / 10], "log_prob": -3.5})
        for cell in cells
    ]
    path = tmp_path / "results.jsonl"
    assert finished(path) == {}
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = finished(path)
    assert list(done) == cells
    (row,) = [line for line in tables(done) if line.startswith("| slcp") and "0.7" in line]
    assert row.split(" | ")[1:3] == ["0.775 (± 0.035, 2 seeds); -3.50", "not run"]
