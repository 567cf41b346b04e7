from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from nfopt import designs
from nfopt import masks as m
from nfopt.evolution import EdgeBlock, Integer, Layout, MaskBlock, Real
from nfopt.evolution.first import first, with_design

from .layouts import LAYOUTS, strengths

PAIRS = Layout((Integer(2, 4), Real(0, 1)), MaskBlock(4, 8, pairs=True, depth=0))


def test_the_named_designs_come_first_and_then_random_pairs() -> None:
    rng = np.random.default_rng(0)
    matrix = strengths(PAIRS, rng)
    found = list(islice(first(PAIRS, rng, matrix), 12))
    # binary_code begins with parity's layers; the depth at rest is 3.
    wanted = [
        designs.parity(4, 8),
        designs.dependence(4, 8, matrix),
        designs.halves(4, 8),
        designs.binary_code(8, 4),
    ]
    for genome, rows in zip(found, wanted, strict=False):
        assert genome.values == (3, 0.5)
        assert (genome.masks == rows).all()
    assert len({genome.key for genome in found}) == 12
    assert len({genome.values for genome in found[4:]}) == 8


def test_without_dependence_there_is_no_such_design() -> None:
    rng = np.random.default_rng(0)
    found = list(islice(first(PAIRS, rng), 3))
    assert (found[1].masks == designs.halves(4, 8)).all()
    with pytest.raises(ValueError, match="`dependence` must be given"):
        with_design(PAIRS, "dependence", rng)


@pytest.mark.parametrize("name", LAYOUTS)
def test_all_are_feasible_and_no_layout_is_too_small(name: str) -> None:
    layout, rng = LAYOUTS[name], np.random.default_rng(0)
    for genome in islice(first(layout, rng), 8):
        assert layout.feasible(genome)


def test_a_design_keeps_the_rest_of_another_genome() -> None:
    layout = Layout((Integer(2, 4), Real(0, 1)), MaskBlock(4, 8, depth=0), EdgeBlock(8, 3))
    rng = np.random.default_rng(0)
    like = layout.random(rng)
    found = with_design(layout, "halves", rng, like=like)
    assert found.values == like.values
    assert (found.parents == like.parents).all()
    assert m.letters(found.masks)[:2] == ("CCCCTTTT", "TTTTCCCC")


def test_an_unknown_design_is_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"`name` must be one of halves, .*, not 'stripes'\."):
        with_design(PAIRS, "stripes", rng)
    with pytest.raises(ValueError, match="`layout` must have masks"):
        with_design(LAYOUTS["values"], "halves", rng)
