"""The section on calibration: of conditional flows, on rows that they were not trained on."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import torch

from nfopt.data import Prepared, load, prepare, split
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.report.page.calibration import MOST, calibration
from nfopt.report.page.document import html_page
from nfopt.report.page.facts import Facts
from nfopt.spec import FlowSpec


def conditional(features: int = 2, rows: int = 2000, narrow: float = 1.0) -> Facts:
    """Columns that do not depend on their context, and a flow that knows it, or is too narrow."""
    values = np.random.default_rng(0).normal(size=(rows, features + 1))
    names = [f"y<{k}>" for k in range(features)]
    table = load(
        {**dict(zip(names, values.T, strict=False)), "x": values[:, -1]}, columns=names, context="x"
    )
    data = prepare(table, split(table, seed=0), 0)
    return facts_of(data, narrow)


def facts_of(data: Prepared, narrow: float = 1.0) -> Facts:
    spec = FlowSpec(features=data.features, context_features=data.context_features)
    before = data.under("standardise").preprocessing
    if narrow != 1.0:
        columns = [
            msgspec.structs.replace(
                one, map=msgspec.structs.replace(one.map, scale=narrow * one.map.scale)
            )
            for one in before.columns
        ]
        before = msgspec.structs.replace(before, columns=tuple(columns))
    flow = Flow.of(build([spec], torch.Generator().manual_seed(0))[0], before)
    return Facts(name="toy", columns=data.columns, flow=flow, data=data)


def outside(page: str) -> str:
    found = re.search(r"(none|\d+) of (\d+) leaves? it", page)
    assert found is not None
    return found[0]


def test_an_exact_flow_stays_within_the_band_and_a_narrow_one_leaves_it() -> None:
    page = calibration(conditional())
    assert outside(page) == "none of 3 leave it"
    assert "The ranks of 100 test rows, among 100 samples" in page
    assert page.count("<svg") == 3
    assert "y&lt;0&gt;" in page
    assert "y<0>" not in page
    assert outside(calibration(conditional(narrow=0.3))) == "3 of 3 leave it"


def test_of_many_columns_the_farthest_off_are_drawn() -> None:
    page = calibration(conditional(features=MOST + 3))
    assert page.count("<svg") == MOST + 1
    assert f"The {MOST} that are farthest off are drawn." in page


def test_without_context_or_rows_there_is_nothing_to_tell() -> None:
    facts = conditional()
    assert calibration(Facts(name="toy", columns=facts.columns)) == ""
    assert 'id="calibration"' in html_page(facts)
    table = load(np.random.default_rng(0).normal(size=(200, 2)))
    bare = facts_of(prepare(table, split(table, seed=0), 0))
    assert calibration(bare) == ""
    assert 'id="calibration"' not in html_page(bare)
    assert "too few rows to tell: 10 test rows" in calibration(conditional(rows=100))
