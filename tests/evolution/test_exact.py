"""What every operator makes of the same parents with the same seed, letter by letter."""

from __future__ import annotations

import numpy as np
import pytest

from nfopt import masks as m
from nfopt.evolution import Category, EdgeBlock, Genome, Integer, Layout, MaskBlock, Real
from nfopt.evolution.operators.table import OPERATORS, Context

SEED = 4

VARIABLES = (Integer(1, 6), Real(1e-4, 1e-2, log=True), Category(4), Integer(16, 256, log=True))
PAIRS = Layout(VARIABLES, MaskBlock(6, 6, pairs=True, depth=0))
IDLE = Layout((), MaskBlock(3, 6, idle=True))
EDGES = Layout((), edges=EdgeBlock(6, 2, orders=True))
PARTS = Layout((), parts=(Layout((), MaskBlock(1, 6, cover=False)), Layout((), edges=EdgeBlock(4))))

CONTEXT = Context(dependence=np.add.outer(np.arange(6.0), np.arange(6.0)))


def text(genome: Genome | None) -> str:
    """Values, masks, order and parents, those that there are."""
    if genome is None:
        return "None"
    parts = [" ".join(f"{value:.4g}" for value in genome.values)] if genome.values else []
    if genome.masks is not None:
        parts += m.letters(genome.masks[: int(genome.values[0]) if genome.values else None])
    if genome.order is not None:
        parts.append("".join(map(str, genome.order)))
    if genome.parents is not None:
        parts.append(",".join("".join(map(str, np.flatnonzero(row))) for row in genome.parents))
    return " ".join([*parts, *map(text, genome.parts)])


def parents_of(layout: Layout) -> tuple[Genome, Genome]:
    if layout is PAIRS:
        a = Genome((4, 1e-3, 1, 64), m.parse(["CCCTTT", "TTTCCC", "CTCTCT", "TCTCTC"]))
        b = Genome((6, 4e-3, 3, 100), m.parse(["CTTCCT", "TCCTTC", "CCTCTT", "TTCTCC", "CCCTTT"]))
    elif layout is IDLE:
        a = Genome((), m.parse(["ICCTTI", "TTTCCC", "CTICTT"]))
        b = Genome((), m.parse(["CTCTIC", "TCICTT", "CCTTCT"]))
    elif layout is PARTS:
        edges = np.eye(4, k=-1, dtype=bool)
        a = Genome((), parts=(Genome((), m.parse(["CCCTTT"])), Genome((), None, None, edges)))
        b = Genome((), parts=(Genome((), m.parse(["TCTCTC"])), Genome((), None, None, edges.T)))
    else:
        first, second = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
        first[[1, 2, 3, 4, 5], [0, 1, 0, 3, 4]] = True
        second[[0, 1, 2, 3, 3], [5, 5, 4, 4, 5]] = True
        a = Genome((), None, np.arange(6), first)
        b = Genome((), None, np.arange(6)[::-1], second)
    return layout.repaired(a), layout.repaired(b)


EXACT: dict[tuple[str, str], str] = {
    ("step", "pairs"): "4 0.001 1 58 CCCTTT TTTCCC CTCTCT TCTCTC",
    ("steps", "pairs"): "3 0.0002205 3 64 CCCTTT TTTCCC CTCTCT",
    ("category", "pairs"): "4 0.001 3 64 CCCTTT TTTCCC CTCTCT TCTCTC",
    ("jump", "pairs"): "4 0.001 1 65 CCCTTT TTTCCC CTCTCT TCTCTC",
    ("flips", "pairs"): "4 0.001 1 64 TCCTTT CTTCCC CTCTCC TCTCTT",
    ("flips", "idle"): "ICCTCT TTTCTC CTICTC",
    ("swap", "pairs"): "4 0.001 1 64 CCCTTT TTTCCC CTCCTT TCTTCC",
    ("columns", "pairs"): "4 0.001 1 64 CCTTTC TTCCCT CTTTCC TCCCTT",
    ("complement", "pairs"): "4 0.001 1 64 CCCTTT TTTCCC TCTCTC CTCTCT",
    ("idles", "idle"): "ICCTTI TTTCCC CTCCTT",
    ("redraw", "pairs"): "4 0.001 1 64 CCCTTT TTTCCC TTCTCC CCTCTT",
    ("exchange_layers", "pairs"): "4 0.001 1 64 CTCTCT TCTCTC CCCTTT TTTCCC",
    ("insert_layer", "pairs"): "6 0.001 1 64 CCCTTT TTTCCC TTCTCC CCTCTT CTCTCT TCTCTC",
    ("delete_layer", "pairs"): "2 0.001 1 64 CCCTTT TTTCCC",
    ("add_edges", "edges"): "012345 ,0,01,01,13,34",
    ("remove_edges", "edges"): "012345 ,,1,,,4",
    ("redirect_edges", "edges"): "012345 ,0,0,2,1,2",
    ("budgets", "edges"): "012345 ,,1,,3,4",
    ("reverse_order", "edges"): "012543 ,0,1,04,5,",
    ("insert_in_order", "edges"): "015234 ,0,1,0,35,",
    ("swap_in_order", "edges"): "012354 ,0,1,0,35,",
    ("cross_values", "pairs"): "4 0.001 1 100 CCCTTT TTTCCC CTCTCT TCTCTC",
    ("blend_values", "pairs"): "6 0.002048 3 60 CCCTTT TTTCCC CTCTCT TCTCTC CCCTTT TTTCCC",
    ("cross_layers", "pairs"): "4 0.001 1 64 CTTCCT TCCTTC CTCTCT TCTCTC",
    ("cross_features", "pairs"): "4 0.001 1 64 CCCCTT TTTTCC CTCCCT TCTTTC",
    ("cross_letters", "pairs"): "4 0.001 1 64 CCCCTT TTTTCC CTCCCT TCTTTC",
    ("cross_parents", "edges"): "012345 ,0,1,,3,",
    ("cross_all", "pairs"): "6 0.001 3 100 CCCCTT TTTTCC CTCCCT TCTTTC CCCTTT TTTCCC",
    ("cross_all", "edges"): "012345 ,0,1,,3,",
    ("part", "parts"): "CCCTTT ,02,01,2",
    ("cross_part", "parts"): "CCCTTT 1,2,3,",
    ("plain_values", "pairs"): "4 0.001 1 85 CCCTTT TTTCCC CTCTCT TCTCTC",
    ("plain_masks", "pairs"): "4 0.001 1 64 CCCCTT TTTTCC CTCTCT TCTCTC",
}

LAYOUTS = {"pairs": PAIRS, "idle": IDLE, "edges": EDGES, "parts": PARTS}


def found(name: str, layout: Layout) -> str:
    operator = OPERATORS[name]
    parents = parents_of(layout)[: operator.parents]
    return text(operator(layout, parents, np.random.default_rng(SEED), CONTEXT))


@pytest.mark.parametrize(("name", "layout"), EXACT, ids=[" ".join(key) for key in EXACT])
def test_the_result_is_exact(name: str, layout: str) -> None:
    assert found(name, LAYOUTS[layout]) == EXACT[name, layout]


def test_every_operator_has_its_line() -> None:
    assert {name for name, _ in EXACT} == set(OPERATORS)


def test_a_rare_letter_is_found_too() -> None:
    layout = Layout((), MaskBlock(2, 64, pairs=True))
    genome = layout.repaired(Genome((), m.parse(["T" + "C" * 63, "C" + "T" * 63])))
    for seed in range(20):
        child = OPERATORS["swap"](layout, (genome,), np.random.default_rng(seed), Context())
        assert child is None or (child.masks[0] == "T").sum() == 1
