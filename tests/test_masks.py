from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfopt import masks as m
from nfopt.masks import Masks


@st.composite
def any_masks(
    draw: st.DrawFn, *, alphabet: str = "CTI", least: int = 0, layers: int = 6, features: int = 40
) -> Masks:
    count = draw(st.integers(least, layers))
    size = draw(st.integers(2, features))
    rows = st.text(alphabet=alphabet, min_size=size, max_size=size)
    return m.parse(draw(st.lists(rows, min_size=count, max_size=count)), size)


def test_letters_undo_parse() -> None:
    rows = ("CCTI", "TTCC")
    masks = m.parse(rows)
    assert masks.shape == (2, 4)
    assert m.letters(masks) == rows
    assert m.letters(m.parse((), 3)) == ()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            ["CCTT", "TTC"],
            r"`masks` must have one letter a feature: layer 1 has 3 letters, the data 4 features\.",
        ),
        (["CCTX"], r"letters C, T and I: layer 0, feature 3 is 'X'\."),
        (["cctt"], r"feature 0 is 'c'"),
    ],
)
def test_parse_names_what_is_wrong(rows: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        m.parse(rows)


@given(any_masks())
def test_repaired_masks_hold_every_rule(masks: Masks) -> None:
    repaired = m.repair(masks)
    transformed, conditions = repaired == "T", repaired == "C"
    assert transformed.any(axis=1).all()
    assert conditions.any(axis=1).all()
    assert transformed.sum(axis=1).max(initial=0) < masks.shape[1]
    if len(masks) > 1:
        assert transformed.any(axis=0).all()
        assert conditions.any(axis=0).all()
    assert m.is_valid(repaired)


@given(any_masks())
def test_repair_is_deterministic_and_leaves_valid_masks_alone(masks: Masks) -> None:
    before = masks.copy()
    once = m.repair(masks)
    assert np.array_equal(masks, before)
    assert np.array_equal(once, m.repair(masks))
    assert np.array_equal(once, m.repair(once))
    assert np.array_equal(once, m.repair(once, np.random.default_rng(0)))


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2), (3, 3)])
def test_repair_changes_no_more_letters_than_it_must(shape: tuple[int, int]) -> None:
    every = np.array(list(product("CT", repeat=shape[0] * shape[1]))).reshape(-1, *shape)
    valid = np.array([mask for mask in every if m.is_valid(mask)])
    for masks in every:
        least = (valid != masks).sum(axis=(1, 2)).min()
        assert m.distance(m.repair(masks), masks) == least


@pytest.mark.parametrize(
    ("rows", "repaired"),
    [
        (["CCCC", "TTTT"], ["TCCC", "CTTT"]),
        (["CTC", "CTC"], ["TCC", "CTT"]),
        (["IIII"], ["TCII"]),
        (["CCCCCC"] * 3, ["TCCTCC", "CTCCTC", "CCTCCT"]),
    ],
)
def test_repair_gives_exactly_this(rows: list[str], repaired: list[str]) -> None:
    found = m.letters(m.repair(m.parse(rows)))
    assert m.is_valid(m.parse(found))
    assert list(found) == repaired


def test_repair_without_cover_holds_the_rules_of_a_layer_alone() -> None:
    masks = m.parse(["CCTT", "CCTT"])
    assert np.array_equal(m.repair(masks, cover=False), masks)
    assert not np.array_equal(m.repair(masks), masks)


def test_repair_breaks_ties_by_the_generator() -> None:
    masks = m.parse(["C" * 12] * 4)
    found = {m.letters(m.repair(masks, np.random.default_rng(seed))) for seed in range(5)}
    assert len(found) == 5
    assert all(m.is_valid(m.parse(rows)) for rows in found)


def test_one_feature_cannot_be_repaired() -> None:
    with pytest.raises(ValueError, match="`masks` must have at least 2 features"):
        m.repair(m.parse(["T"]))
    assert m.repair(m.parse((), 1)).shape == (0, 1)


def test_layers_that_touch_other_features_commute() -> None:
    first, second = "TCII", "IICT"
    assert m.letters(m.canonical(m.parse([first, second]))) == (second, first)
    assert m.letters(m.canonical(m.parse([second, first]))) == (second, first)


def test_layers_that_share_only_what_both_keep_commute() -> None:
    assert m.letters(m.canonical(m.parse(["TCI", "ICT"]))) == ("ICT", "TCI")


@pytest.mark.parametrize("rows", [["TC", "CT"], ["TCI", "CIT"], ["TCI", "TIC"], ["TCCT", "CTTC"]])
def test_layers_that_read_or_write_what_the_other_writes_stay(rows: list[str]) -> None:
    assert list(m.letters(m.canonical(m.parse(rows)))) == rows


@given(any_masks(features=6), st.data())
def test_canonical_form_is_the_same_from_every_order_by_exchanges(
    masks: Masks, data: st.DataObject
) -> None:
    exchanged = masks.copy()
    for _ in range(10):
        for k in data.draw(st.permutations(range(max(len(masks) - 1, 0)))):
            upper, lower = exchanged[k], exchanged[k + 1]
            if (lower[upper == "T"] == "I").all() and (upper[lower == "T"] == "I").all():
                exchanged[[k, k + 1]] = exchanged[[k + 1, k]]
    form = m.canonical(masks)
    assert np.array_equal(form, m.canonical(exchanged))
    assert np.array_equal(form, m.canonical(form))
    assert sorted(m.letters(form)) == sorted(m.letters(masks))


def test_exchanges_reach_every_layer_of_three() -> None:
    # One pass over the neighbours is not enough: the last must come to the front.
    masks = m.parse(["IIIITC", "IITCII", "CTIIII"])
    assert m.letters(m.canonical(masks)) == ("CTIIII", "IIIITC", "IITCII")


def test_pair_coverage_counts_layers() -> None:
    coverage = m.pair_coverage(m.parse(["CTT", "TCI"]))
    assert coverage.tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]


@given(any_masks(least=1))
def test_pair_coverage_is_what_the_definition_says(masks: Masks) -> None:
    masks = m.repair(masks)
    coverage = m.pair_coverage(masks)
    D = masks.shape[1]
    i, j = D - 1, 0
    assert coverage.shape == (D, D)
    assert not coverage.diagonal().any()
    assert coverage[i, j] == sum(row[i] == "T" and row[j] == "C" for row in masks)


@pytest.mark.parametrize(
    ("row", "says"), [("CCI", "transforms no feature"), ("TTI", "conditions on none")]
)
def test_pair_coverage_refuses_a_layer_without_pairs(row: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"repaired first: layer 1 {says}"):
        m.pair_coverage(m.parse(["CTT", row]))


@given(any_masks(features=5), any_masks(features=5), any_masks(features=5))
def test_distance_is_a_metric(a: Masks, b: Masks, c: Masks) -> None:
    D = min(x.shape[1] for x in (a, b, c))
    a, b, c = a[:, :D], b[:, :D], c[:, :D]
    assert m.distance(a, a) == 0
    assert m.distance(a, b) == m.distance(b, a)
    assert m.distance(a, c) <= m.distance(a, b) + m.distance(b, c)
    assert (m.distance(a, b) == 0) == np.array_equal(a, b)


def test_distance_counts_letters_and_missing_layers() -> None:
    assert m.distance(m.parse(["CCTT"]), m.parse(["CTTI", "TTCC"])) == 6
    with pytest.raises(ValueError, match="not 2 and 3"):
        m.distance(m.parse(["CT"]), m.parse(["CTT"]))


@given(any_masks(features=70))
def test_pack_and_unpack_are_exact_with_idle_features(masks: Masks) -> None:
    words = m.pack(masks, idle=True)
    assert all(0 <= word < 2**32 for word in words)
    assert np.array_equal(m.unpack(words, *masks.shape, idle=True), masks)


@given(any_masks(alphabet="CT", features=70))
def test_pack_and_unpack_are_exact_with_one_plane(masks: Masks) -> None:
    words = m.pack(masks, idle=False)
    L, D = masks.shape
    assert len(words) == L * -(-D // 32)
    assert np.array_equal(m.unpack(words, L, D, idle=False), masks)


@given(st.data())
def test_every_word_unpacks_and_the_canonical_word_is_one_of_them(data: st.DataObject) -> None:
    D = data.draw(st.integers(1, 70))
    widths = m.word_bits(D) * 4
    words = [data.draw(st.integers(0, 2**bits - 1)) for bits in widths]
    masks = m.unpack(words, 2, D, idle=True)
    assert np.array_equal(m.unpack(m.pack(masks, idle=True), 2, D, idle=True), masks)


def test_packed_integers_are_exactly_these() -> None:
    assert m.pack(m.parse(["TCCT", "CTCC"]), idle=False) == [9, 2]
    assert m.pack(m.parse(["TICI"]), idle=True) == [1, 10]
    long = m.parse(["T" * 33])
    assert m.pack(long, idle=False) == [2**32 - 1, 1]
    assert m.word_bits(64) == (32, 32)
    assert m.letters(m.unpack([1, 3], 1, 2, idle=True)) == ("TI",)


def test_packing_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="layer 0, feature 1 is 'I'"):
        m.pack(m.parse(["CIT"]), idle=False)
    with pytest.raises(ValueError, match="`words` must have 2 integers"):
        m.unpack([1], 2, 4, idle=False)
    with pytest.raises(ValueError, match="must fit 4 bits: integer 1 is 16"):
        m.unpack([1, 16], 2, 4, idle=False)
    with pytest.raises(ValueError, match="feature 1 is 'x'"):
        m.repair(np.array([["C", "x"]]))
    with pytest.raises(ValueError, match=r"shape \(L, D\), not \(2,\)"):
        m.canonical(np.array(["C", "T"]))
