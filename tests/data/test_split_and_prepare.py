"""Splits, what training reads, and the fingerprint."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfopt.data import (
    Prepared,
    Preprocessing,
    Split,
    Table,
    load,
    prepare,
    split,
    split_without_test,
)
from nfopt.errors import DataError


def _table(rows: int = 400, groups: int | None = None, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    labels = None if groups is None else rng.integers(0, groups, rows)
    return load(rng.normal(size=(rows, 2)), groups=labels)


@given(
    rows=st.integers(50, 400),
    kind=st.sampled_from(["random", "blocked", "group"]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=120, deadline=None)
def test_every_row_is_in_one_part(rows: int, kind: str, seed: int) -> None:
    table = _table(rows, groups=40 if kind == "group" else None)
    parts = split(table, kind=kind, seed=seed)  # type: ignore[arg-type]
    together = np.concatenate([parts.train, parts.val, parts.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(rows))
    slack = {"random": 1, "blocked": 4, "group": rows / 8}[kind]
    assert abs(len(parts.val) - rows / 10) <= slack
    assert abs(len(parts.test) - rows / 10) <= slack
    assert all((np.diff(part) > 0).all() for part in (parts.train, parts.val, parts.test))
    again = split(table, kind=kind, seed=seed)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.test, parts.test)


@given(groups=st.lists(st.integers(0, 9), min_size=60, max_size=200), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_groups_stay_together(groups: list[int], seed: int) -> None:
    if len(set(groups)) < 3:
        return
    values = np.random.default_rng(0).normal(size=(len(groups), 1))
    parts = split(load(values, groups=np.array(groups)), seed=seed)
    held = [set(np.array(groups)[part]) for part in (parts.train, parts.val, parts.test)]
    assert all(held)
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]


@given(rows=st.integers(2, 200), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_without_test_every_row_trains_or_validates(rows: int, fraction: float, seed: int) -> None:
    parts = split_without_test(rows, fraction, seed=seed)
    together = np.concatenate([parts.train, parts.val])
    np.testing.assert_array_equal(np.sort(together), np.arange(rows))
    assert len(parts.test) == 0
    assert min(len(parts.train), len(parts.val)) >= 1
    assert abs(len(parts.val) - fraction * rows) <= 1
    again = split_without_test(rows, fraction, seed=seed)
    np.testing.assert_array_equal(again.val, parts.val)


def test_a_table_is_prepared_without_test_rows() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(20, 2)), rng.uniform(1, 2, 20)
    table = load(values, weights=weights, fewest=10, on_warning=print)
    data = prepare(table, split_without_test(20), seed=0)
    assert data.sizes == (18, 2, 0)
    assert data.test.shape == (0, 2)
    with pytest.raises(DataError, match="at least 21 are needed"):
        load(rng.normal(size=(20, 2)), fewest=21)


def test_blocks_are_contiguous() -> None:
    parts = split(_table(400), kind="blocked", seed=1)
    for part, blocks in ((parts.val, 2), (parts.test, 2), (parts.train, 16)):
        assert len(part) == 20 * blocks
        assert np.count_nonzero(np.diff(part) > 1) < blocks
        assert (part[::20] % 20 == 0).all()


def test_sizes_and_seed() -> None:
    table = _table(1890 * 10 + 5)
    first, second = split(table, seed=0), split(table, seed=1)
    assert (len(first.train), len(first.val), len(first.test)) == (15_125, 1_890, 1_890)
    assert not np.array_equal(first.test, second.test)


def test_prepared_parts_belong_to_the_rows() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.lognormal(size=(300, 4)), columns=list("abcw"))
    table = load(frame, context="c", weights="w", log=["a"])
    parts = split(table, seed=3)
    prepared = prepare(table, parts, seed=0)
    assert (prepared.features, prepared.context_features) == (2, 1)
    assert (prepared.columns, prepared.context_columns) == (("a", "b"), ("c",))
    assert prepared.context is not None
    assert prepared.weights is not None
    for position, (name, rows) in enumerate(
        [("train", parts.train), ("val", parts.val), ("test", parts.test)]
    ):
        part = prepared.part(name)  # type: ignore[arg-type]
        assert part.z is getattr(prepared, name)
        assert part.z.dtype == np.float32
        z, logdet = prepared.preprocessing.forward(table.values[rows])
        np.testing.assert_allclose(part.z, z, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(part.logdet, logdet)
        assert prepared.context[position] is part.context
        assert prepared.context[position].shape == (len(rows), 1)
        assert part.weights is not None
        np.testing.assert_allclose(
            part.weights,
            frame["w"].to_numpy()[rows] / frame["w"].to_numpy()[parts.train].mean(),
            rtol=1e-6,
        )
        assert np.average(part.logdet, weights=part.weights) == pytest.approx(
            float(np.average(logdet, weights=frame["w"].to_numpy()[rows])), rel=1e-6
        )
    assert prepared.train.astype(float).T @ prepared.weights[0] == pytest.approx(0.0, abs=1e-3)
    with pytest.raises(ValueError, match=r"`name` must be one of train, val, test"):
        prepared.part("all")  # type: ignore[arg-type]


def test_the_test_part_does_not_leak_into_preprocessing() -> None:
    values = np.random.default_rng(0).normal(size=(300, 2))
    parts = split(load(values), seed=0)
    changed = values.copy()
    changed[np.concatenate([parts.test, parts.val])] += 5.0
    one, two = prepare(load(values), parts), prepare(load(changed), parts)
    assert one.preprocessing == two.preprocessing
    np.testing.assert_array_equal(one.train, two.train)


def test_subsample() -> None:
    table = load(np.random.default_rng(0).normal(size=(500, 2)), weights=np.ones(500))
    prepared = prepare(table, split(table))
    small = prepared.subsample(100, seed=1, val_rows=20)
    assert (len(small.train), len(small.val), len(small.test)) == (100, 20, 50)
    assert small.part("train").weights is not None
    assert len(small.parts[0].logdet) == 100
    assert small.preprocessing is prepared.preprocessing
    assert small.fingerprint == prepared.fingerprint
    rows = {tuple(row) for row in prepared.train.tolist()}
    picked = {tuple(row) for row in small.train.tolist()}
    assert len(picked) == 100
    assert picked <= rows
    np.testing.assert_array_equal(small.train, prepared.subsample(100, seed=1).train)
    assert not np.array_equal(small.train, prepared.subsample(100, seed=2).train)
    assert len(prepared.subsample(10**9).train) == 400
    for wrong in ({"rows": 0}, {"rows": 5, "val_rows": 0}):
        with pytest.raises(ValueError, match=r"must be at least 1, not 0"):
            prepared.subsample(**wrong)


def _changed(table: Table) -> dict[str, tuple[Table, Split, int]]:
    """Everything that must change the fingerprint, one thing at a time."""
    parts = split(table, seed=0)
    values = table.values.copy()
    values[7, 1] = np.nextafter(values[7, 1], 9.0)
    hint = table.hints[1].__class__
    variants = {
        "a value": dataclasses.replace(table, values=values),
        "a name": dataclasses.replace(table, columns=("a", "z")),
        "the order": dataclasses.replace(table, values=table.values[:, ::-1]),
        "bounds": dataclasses.replace(table, hints=(table.hints[0], hint(low=-99.0))),
        "a step": dataclasses.replace(table, hints=(table.hints[0], hint(step=0.5))),
        "context": dataclasses.replace(table, context=values[:, :1], context_columns=("c",)),
        "weights": dataclasses.replace(table, weights=np.ones(table.rows)),
        "other weights": dataclasses.replace(table, weights=np.full(table.rows, 2.0)),
    }
    changed = {name: (variant, parts, 0) for name, variant in variants.items()}
    changed["the split"] = (table, split(table, seed=1), 0)
    changed["parts swapped"] = (table, Split(parts.train, parts.test, parts.val), 0)
    changed["the noise"] = (table, parts, 1)
    return changed


def test_the_fingerprint_changes_with_everything() -> None:
    values = np.random.default_rng(0).integers(0, 40, size=(300, 2)) * 1.0
    table = load(pd.DataFrame(values, columns=["a", "b"]), on_warning=lambda text: None)
    base = prepare(table, split(table, seed=0), 0)
    seen = {"nothing": base.fingerprint}
    for name, (variant, parts, seed) in _changed(table).items():
        seen[name] = prepare(variant, parts, seed).fingerprint
    assert len(set(seen.values())) == len(seen)
    assert all(len(one) == 64 for one in seen.values())


def test_the_fingerprint_does_not_depend_on_the_source() -> None:
    values = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)

    def of(source: object) -> Prepared:
        table = load(source)
        return prepare(table, split(table, seed=4))

    frame = pd.DataFrame(values, columns=["x0", "x1"])
    prints = {of(one).fingerprint for one in (values, np.asfortranarray(values), frame)}
    zeroed = values.copy()
    zeroed[0] = 0.0
    assert len(prints) == 1
    assert of(zeroed).fingerprint == of(np.where(zeroed == 0, -zeroed, zeroed)).fingerprint


def test_the_fingerprint_is_the_same_on_every_machine() -> None:
    grid = np.arange(120.0)
    table = load(np.column_stack([np.sqrt(grid), (grid * 37) % 101]), dequantise={"x1": 1.0})
    rows = np.arange(120)
    prepared = prepare(table, Split(rows[:96], rows[96:108], rows[108:]), seed=5)
    assert prepared.fingerprint == FINGERPRINT


FINGERPRINT = "4883767814f590ed3b4994441428b55172bdb788b8a1901e5cc940f127079913"


def test_preprocessing_can_be_stored_beside_the_flow() -> None:
    table = _table()
    prepared = prepare(table, split(table))
    assert Preprocessing.from_json(prepared.preprocessing.to_json()) == prepared.preprocessing


def test_importing_is_light() -> None:
    code = "import sys, nfopt.data; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_memory_stays_small() -> None:
    # 300,000 rows of 8 features are 18 MiB; what comes on top, measured in a fresh process.
    code = """
import resource, numpy as np, pandas
from nfopt.data import load, prepare, split
values = np.random.default_rng(0).normal(size=(300_000, 8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = load(values)
prepared = prepare(table, split(table))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150
