"""What a flow takes: arrays, tensors, lists and frames, and what it says to wrong input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from nfopt.data import Preprocessing
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.spec import FlowSpec

from .toys import COLUMNS, affine, make_flow, table


def test_arrays_tensors_lists_and_frames_score_the_same() -> None:
    flow = make_flow([affine()])
    x = table(5)
    scores = flow.log_prob(x)
    frame = pd.DataFrame(x, columns=list(COLUMNS))
    for same in (torch.from_numpy(x), x.tolist(), frame, dict(frame)):
        np.testing.assert_allclose(flow.log_prob(same), scores)
    moved = frame[["share", "mass", "width"]].assign(label="a")
    np.testing.assert_allclose(flow.log_prob(moved), scores)


def test_context_by_name_by_position_and_one_row_for_all() -> None:
    flow = make_flow([affine(2)])
    x, given = table(5), np.tile([1.0, 2.0], (5, 1))
    scores = flow.log_prob(x, given)
    frame = pd.DataFrame(x, columns=list(COLUMNS))
    hours = pd.DataFrame({"place": given[:, 1], "hour": given[:, 0]})
    for rows, context in (
        (x, [1.0, 2.0]),
        (x, hours),
        (np.hstack([x, given]), None),
        (frame, given),
        (frame.join(hours), None),
    ):
        np.testing.assert_allclose(flow.log_prob(rows, context), scores)


def test_a_flow_of_nameless_data_takes_frames_by_position() -> None:
    (stack,) = build([affine()], torch.Generator().manual_seed(0))
    flow = Flow.of(stack, Preprocessing.fit(table(), ["x0", "x1", "x2"]))
    x = table(5)
    frame = pd.DataFrame(x, columns=list("abc"))
    np.testing.assert_allclose(flow.log_prob(frame), flow.log_prob(x))


X = table(4)
NAMES = list(COLUMNS)
WRONG: dict[str, tuple[Callable[[Flow], Any], str]] = {
    "too narrow": (lambda f: f.log_prob(X[:, :2]), r"`x` must have 3 columns \(mass.*got 2"),
    "too wide": (lambda f: f.log_prob(np.hstack([X, X])), "`x` must have 3 columns.*got 6"),
    "one axis": (lambda f: f.log_prob(X[0]), r"`x` must have shape \(n, 3\), got \(3,\)"),
    "three axes": (lambda f: f.log_prob(X[None]), r"`x` must have shape \(n, 3\)"),
    "words": (lambda f: f.log_prob([["a", "b", "c"]]), "`x` must be rows of numbers"),
    "ragged": (lambda f: f.log_prob([[1, 2, 3], [1]]), "`x` must be rows of numbers"),
    "none": (lambda f: f.log_prob(None), "`x` must be|`x` must have"),
    "nan": (lambda f: f.log_prob(np.where(X[2, 1] == X, np.nan, X)), r"finite: row 2 .*1 of 4"),
    "missing column": (
        lambda f: f.log_prob(pd.DataFrame(X, columns=["mass", "width", "other"])),
        "lacks column 'share'",
    ),
    "not a number in a frame": (
        lambda f: f.log_prob(pd.DataFrame(X, columns=NAMES).assign(mass="a")),
        "'mass' is not numeric",
    ),
    "context not wanted": (lambda f: f.log_prob(X, X[:, :2]), "trained without context"),
    "context to sample": (lambda f: f.sample(2, context=[1.0]), "trained without context"),
    "negative n": (lambda f: f.sample(-1), "`n` must be a whole number of at least 0, got -1"),
    "half a row": (lambda f: f.sample(1.5), "`n` must be a whole number.*got 1.5"),
    "dtype": (lambda f: f.sample(1, dtype=np.int32), "`dtype` must be .* got int32"),
    "member": (lambda f: f.weights(7), "`member` must be from 0 to 0, got 7"),
    "specs": (lambda f: Flow([], [], f.preprocessing), "one a member: got 0 and 0"),
    "width of specs": (
        lambda f: Flow([FlowSpec(features=2)], [{}], f.preprocessing),
        "3 features and 0 context features.*got 2 and 0",
    ),
}

WRONG_CONTEXT: dict[str, tuple[Callable[[Flow], Any], str]] = {
    "no context": (lambda f: f.log_prob(X), r"2 columns \(hour, place\), got None"),
    "no context to sample": (lambda f: f.sample(3), "`context` must have 2 columns"),
    "context too narrow": (lambda f: f.log_prob(X, X[:, :1]), r"\(4, 2\).*got \(4, 1\)"),
    "context too short": (lambda f: f.log_prob(X, X[:3, :2]), r"\(4, 2\).*got \(3, 2\)"),
    "context column missing": (
        lambda f: f.log_prob(pd.DataFrame(X, columns=NAMES).assign(hour=1.0)),
        "lacks column 'place'",
    ),
}


@pytest.mark.parametrize("name", [*WRONG, *WRONG_CONTEXT])
def test_wrong_input_is_one_clear_line(name: str) -> None:
    call, message = (WRONG | WRONG_CONTEXT)[name]
    flow = make_flow([affine(2 if name in WRONG_CONTEXT else 0)])
    with pytest.raises(ValueError, match=message) as caught:
        call(flow)
    assert "\n" not in str(caught.value)
