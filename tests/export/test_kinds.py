"""Programs and ONNX of kinds of layers; both are compared with the flow before they are in place.

All of `tests/flows/kinds.py` were tried (134 exports); these are those that hold the others' parts.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from flows.kinds import spec_of

from nfopt.export import write_onnx, write_torch_export
from nfopt.model import Flow

from .toys import made, maps

WRITERS = {"torch-export": write_torch_export, "onnx": write_onnx}
KINDS = [
    ("mixed, student t", 3, 2),
    ("autoregressive parents residual", 4, 0),
    ("autoregressive independent", 4, 0),
]


@pytest.mark.slow
@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize(("kind", "features", "context"), KINDS)
def test_a_kind_is_handed_on(
    kind: str, features: int, context: int, to: str, tmp_path: Path
) -> None:
    """A mixture of two members that differ in their orders or graphs, too."""
    specs = [spec_of(kind, features, context, member) for member in (0, 1)]
    weights = [made(spec)[0].weights() for spec in specs]
    flow = Flow(specs, weights, [maps(spec, "asinh") for spec in specs])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        home = WRITERS[to](flow, tmp_path / "out")
    assert (home / "programs.json").is_file()
