"""Bags of flows, one a fold: who sees which rows, and what is told of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_study import TRAIN, flow, table

from nfopt.data import Prepared, folds
from nfopt.model import Flow
from nfopt.study.dataset import read
from nfopt.study.results import member_scores
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import bag_scores, train_bags, train_stack
from nfopt.training import Rung

FOLDS = 3
SPECS = [flow("CTC", "TCT"), flow("TCC", "CTT")]


@pytest.fixture(scope="module")
def data() -> Prepared:
    return read(table(203), seed=0).data


@pytest.fixture
def rows(data: Prepared) -> MappedRows:
    return MappedRows(data, folds=FOLDS, seed=1)


def rows_of(part: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in part}


def test_each_row_validates_in_one_fold_and_is_trained_on_in_the_others(data: Prepared) -> None:
    everything = rows_of(np.concatenate([part.line for part in data.lines.parts[:2]]))
    held: list[bytes] = []
    for part in folds(data, FOLDS, seed=1):
        train, val, test = (rows_of(one.line) for one in part.lines.parts)
        assert not train & val
        assert train | val == everything
        assert test == rows_of(data.lines.parts[2].line)
        held += list(val)
    assert len(held) == len(set(held)) == len(everything) - len(everything) % FOLDS


def test_maps_are_fitted_on_the_rows_of_the_fold(rows: MappedRows) -> None:
    fitted = rows.preprocessings("asinh")
    assert len({maps.to_json() for maps in fitted}) == FOLDS
    for part, maps in zip(rows.parts, fitted, strict=True):
        z, _ = maps.from_line(part.lines.parts[0].line, part.lines.parts[0].logdet)
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)


def test_a_bag_is_told_as_one_flow_out_of_fold(rows: MappedRows) -> None:
    told: list[Rung] = []
    stack, results = train_bags(
        SPECS,
        [TRAIN, TRAIN],
        [5, 6],
        ["asinh", "standardise"],
        rows,
        batches=0,
        steps=40,
        seconds=None,
        on_rung=lambda rung: told.append(rung) or (),  # type: ignore[func-returns-value]
    )
    assert len(stack) == 2 * FOLDS
    assert [result.member for result in results] == [0, FOLDS]
    assert all(rung.members == (0, 1) for rung in told)
    scores = bag_scores(stack, ["asinh", "standardise"], rows)
    assert scores.shape == (2, len(rows.validation))
    for number, result in enumerate(results):
        assert result.status == "complete"
        assert result.nll == pytest.approx(-float(scores[number].mean()), abs=1e-5)
    # what is kept of a bag scores the rows that its flows have held out
    kept = Flow.of(stack, rows.preprocessings("standardise"), members=range(FOLDS, 2 * FOLDS))
    torch.testing.assert_close(rows.scores(kept), scores[1], atol=1e-4, rtol=1e-4)
    alone = member_scores(kept, rows.parts[1].parts[1])[1]
    size = len(rows.parts[0].parts[1])
    torch.testing.assert_close(alone, scores[1][size : 2 * size], atol=1e-4, rtol=1e-4)


def test_a_bag_ends_at_a_rung_as_a_whole(rows: MappedRows) -> None:
    _, results = train_bags(
        SPECS,
        [TRAIN, TRAIN],
        [5, 6],
        ["asinh", "asinh"],
        rows,
        batches=0,
        steps=40,
        seconds=None,
        on_rung=lambda rung: {1},
    )
    assert [result.status for result in results] == ["complete", "pruned"]
    assert math.isfinite(results[1].nll)
    assert results[1].steps < results[0].steps == 40


def test_without_folds_it_is_a_plain_stack(data: Prepared) -> None:
    plain = MappedRows(data)
    more = {"batches": 0, "steps": 20, "seconds": None}
    stack, results = train_bags([SPECS[0]], [TRAIN], [5], ["asinh"], plain, **more)
    other, expected = train_stack([SPECS[0]], [TRAIN], [5], plain.of_members(["asinh"]), **more)
    assert torch.equal(stack.theta, other.theta)
    assert results[0].nll == expected[0].nll
