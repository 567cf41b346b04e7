"""studies/evidence: what is computed, and the views of it, without any training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[2] / "studies" / "evidence"


def result(cell: Any, test: float, **more: Any) -> dict[str, Any]:
    """A line of results.jsonl."""
    known = {"test_2se": 0.1, "validation": test, "without_density": 0, "parameters": 9}
    known |= {"score_seconds": 0.1, "sample_seconds": None, "cpu_seconds": 180.0}
    return {"commit": "abc", **asdict(cell), "test": test, **known, **more}


def test_no_cell_is_computed_twice() -> None:
    from cells import plan

    cells = [cell for part in plan().values() for cell in part]
    assert len(cells) == len(set(cells))
    assert len({cell.name for cell in cells}) == len(cells)
    assert next(iter(plan())) == "search against fit"


def test_what_is_done_at_this_commit_is_left_out() -> None:
    from cells import Cell, todo

    one, two = Cell("fit", "magic", 0, 180, 0), Cell("search", "magic", 0, 180, 0)
    assert todo([one, two], [result(one, -3.0)], "abc") == [two]
    assert todo([one, two], [result(one, -3.0)], "abd") == [one, two]


def test_drawn_rows_follow_the_seed_and_leave_the_test_rows() -> None:
    from cells import drawn

    parts = {
        name: np.arange(6 * rows, dtype=np.float32).reshape(rows, 6)
        for name, rows in (("train", 900), ("val", 300), ("test", 200))
    }
    first, again, other = (drawn(parts, "magic", 40, seed) for seed in (0, 0, 1))
    assert {name: len(part) for name, part in first.items()} == {
        "train": 40,
        "val": 10,
        "test": 200,
    }
    assert all(np.array_equal(first[name], again[name]) for name in parts)
    assert not np.array_equal(first["train"], other["train"])
    assert np.array_equal(first["test"], parts["test"])
    assert drawn(parts, "miniboone_vt", 40, 0)["test"].shape == (200, 5)


def test_a_gain_is_paired_over_the_seeds_that_both_have() -> None:
    from cells import Cell
    from tables import against

    fit, search = Cell("fit", "magic", 0, 180, 0), Cell("search", "magic", 0, 180, 0)
    rows = [
        *(result(replace(fit, seed=seed), test) for seed, test in enumerate((-3.0, -4.0, -9.0))),
        *(result(replace(search, seed=seed), test) for seed, test in enumerate((-2.9, -3.7))),
        result(replace(search, seconds=600), 0.0),
    ]
    (line,) = against(rows, "search", "fit", 0, 180)
    assert line == "| magic | -3.500 | -3.300 | +0.200 ± 0.200 | 2 |"
    assert list(against(rows, "search", "fit", 0, 600)) == []


def test_versus_pairs_over_the_test_rows_and_says_when_the_best_peer_was_passed(
    tmp_path: Path,
) -> None:
    from cells import ONE, Cell
    from tables import versus

    cell = Cell("fit", "magic", 0, 180, 0)
    zuko, one = replace(cell, method="zuko"), replace(cell, method=ONE)
    rows = [
        result(cell, -3.0),
        result(zuko, -4.0, without_density=2),
        result(one, -3.5, curve=[[5.0, 9.0], [11.0, 3.9]]),
    ]
    for each, scores in ((cell, [1.0, 2.0, 3.0, 9.0]), (zuko, [0.0, 1.0, 3.0, -np.inf])):
        np.save(tmp_path / f"{each.name}.npy", np.float32(scores))
    text = "\n".join(versus(rows, 0, 180, tmp_path))
    assert "| fit | -3.000 (0.100) | - | 9 |" in text
    assert "| zuko | -4.000 (0.100, 2 rows of density 0) | 0.667 (0.667) |" in text
    assert f"| {ONE} | -3.500 (0.100) | 0.500 |" in text, "without scores: unpaired"
    assert "one flow of `fit` passes it after 11.0" in text


def test_the_ladder_takes_the_same_seeds_for_each_step() -> None:
    from cells import FIT, Cell
    from tables import ladder

    cell = Cell("engine", "magic", 0, 180, 0)
    rows = [
        result(cell, -4.0),
        result(replace(cell, seed=1), -4.2),
        *(result(replace(cell, method=FIT, seed=seed), -3.0 - seed) for seed in (0, 1, 2)),
        result(replace(cell, method="zuko"), -5.0),
    ]
    told = list(ladder(rows, 0, 180))
    assert "| our engine, the same recipe | -4.100 |" in told
    assert "| + mixture (`fit`) | -3.500 |" in told
    assert "| zuko's recipe | - |" in told, "a seed is missing"


def test_all_views_of_a_commit() -> None:
    from cells import Cell
    from tables import tables

    cell = Cell("fit", "magic", 0, 180, 0)
    rows = [result(cell, -3.0), result(replace(cell, method="search"), -2.0)]
    text = "\n".join(
        tables([*rows, {**asdict(cell), "commit": "abc", "failed": "x"}], Path("none"))
    )
    assert "## `search` against `fit`, all rows, 3 minutes" in text
    assert "Versus" not in text, "there is no peer"
    assert list(tables([], Path("none"))) == ["Nothing is done yet."]


def test_a_curve_is_cut_to_its_improvements() -> None:
    from cell import POINTS, improvements

    assert improvements([(1.0, 5.0), (2.0, 6.0), (3.0, 4.0)]) == [(1.0, 5.0), (3.0, 4.0)]
    long = improvements([(float(k), -float(k)) for k in range(1000)])
    assert len(long) == POINTS
    assert long[-1] == (999.0, -999.0)
    assert improvements([]) == []


def test_commands_are_what_a_user_would_type(tmp_path: Path) -> None:
    from cells import Cell
    from run import command

    words = command(Cell("search --sampler random", "magic", 0, 600, 2), Path("m.npz"), tmp_path)
    assert words[2:] == [
        *("nfopt", "search", "m.npz", "--sampler", "random", "--minutes", "10"),
        *("--threads", "1", "--seed", "2", "--out", str(tmp_path / "flow"), "--json"),
        *("--storage", f"sqlite:///{tmp_path}/study.db", "--no-pictures"),
    ]
    assert "--storage" not in command(Cell("fit", "magic", 0, 180, 0), Path("m.npz"), tmp_path)


def test_every_method_is_a_command_or_has_its_rival() -> None:
    from cells import plan
    from ladder import rivals
    from run import of_command

    used = {cell.method for part in plan().values() for cell in part}
    assert {method for method in used if not of_command(method)} <= rivals().keys()
