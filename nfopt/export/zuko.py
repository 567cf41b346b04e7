"""Make zuko flows, in memory or on disk, and see that they score alike.

`zuko_flow.py` builds the zuko modules. It stands alone, so that the same file serves here and,
copied beside the weights, whoever has zuko and no nfopt.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from nfopt.data import Preprocessing
from nfopt.data.maps.preprocess import NOTHING, ColumnMap
from nfopt.errors import ExportError
from nfopt.export.check import ROWS, Array, agree, alike, chosen
from nfopt.export.translate import Weights, stack_of, translate
from nfopt.files import check_free, making
from nfopt.model import Flow
from nfopt.spec import FlowSpec

NAME = "zuko_flow"
SOURCES = {f"{NAME}.py": "nfopt.export", "column_maps.py": "nfopt.model"}


def to_zuko(
    spec: FlowSpec, weights: Weights, *, dtype: torch.dtype | None = None
) -> Any:  # a zuko.flows.Flow: zuko is optional and without types
    """Make an ordinary zuko flow with the same density, of preprocessed data.

    Args:
        spec: The structure.
        weights: As `Stack.weights` gives them.
        dtype: Precision of the zuko flow; None for that of the weights.

    Returns:
        A `zuko.flows.Flow`: `flow().log_prob(x)`, `flow(context).sample((n,))`.

    Raises:
        ExportError: If zuko has no such layer, or is not installed.
        ValueError: If the weights are not those of the spec.
    """
    own = next((weight.dtype for weight in weights.values()), torch.get_default_dtype())
    made = of_weights(spec, weights, torch.float64)
    generator = torch.Generator().manual_seed(0)
    x, context = (
        torch.randn(ROWS, count, generator=generator, dtype=torch.float64)
        for count in (spec.features, spec.context_features)
    )
    seen = context if spec.context_features else None
    with torch.no_grad():
        wanted = stack_of(spec, weights).log_prob(x, seen)[0].numpy()
        alike(made(seen).log_prob(x).numpy(), wanted, f"zuko {version('zuko')}")
    return made.to(dtype or own)


def export_zuko(
    flow: Flow, *, member: int | None = None, dtype: torch.dtype = torch.float64
) -> Any:
    """Make ordinary zuko flows with the same density, on the data's own scale.

    Args:
        flow: What nfopt trained.
        member: Which one of a mixture; None: all.
        dtype: Precision. float32 loses the digits of a column with a large mean.

    Returns:
        A `zuko.flows.Flow`, or of several members a lazy distribution that is used as one is and
        has them as `flows`, their weights as `shares`. Context, too, is on the data's own scale.

    Raises:
        ExportError: If zuko has no such layer, or is not installed.
        ValueError: If there is no such member.
    """
    return _built(*_translated(flow, member)).to(dtype)


def write_zuko(flow: Flow, directory: str | os.PathLike[str], *, member: int | None = None) -> Path:
    """Write zuko flows that load without nfopt: two Python files, JSON and safetensors.

    `from zuko_flow import load` in that directory, and `load()` is the flow, or the mixture, as
    `export_zuko` gives it. Nothing is pickled.

    Returns:
        The path of zuko_flow.py.

    Raises:
        ExportError: As `export_zuko`.
        ValueError: If the directory is a file, or not empty.
    """
    home = Path(directory)
    check_free(home, "directory")
    part, description, state = _translated(flow, member)
    load = builder().load
    with making(home) as folder:
        for name, package in SOURCES.items():
            text = files(package).joinpath(name).read_text(encoding="utf-8")
            (folder / name).write_text(text, encoding="utf-8")
        table = folder / f"{NAME}.json"
        table.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        save_file(state, folder / f"{NAME}.safetensors")
        _agreeing(load(folder), part)  # before it takes its place
    return home / f"{NAME}.py"


def builder() -> Any:
    """Import what builds zuko's modules.

    Raises:
        ExportError: If zuko is not installed, or too old.
    """
    try:
        import zuko  # noqa: F401
    except ImportError:
        raise ExportError("zuko is not installed: pip install nfopt[zuko]") from None
    try:
        from nfopt.export import zuko_flow
    except ImportError as error:
        found = f"zuko {version('zuko')} lacks what the export needs ({error.name})"
        raise ExportError(f"{found}: pip install -U nfopt[zuko]") from None
    return zuko_flow


def of_weights(spec: FlowSpec, weights: Weights, dtype: torch.dtype) -> Any:
    """Make a zuko flow of preprocessed data, without a look at how it scores."""
    columns, context = (
        tuple(ColumnMap(f"{letter}{place}", NOTHING) for place in range(count))
        for letter, count in (("x", spec.features), ("c", spec.context_features))
    )
    maps = Preprocessing(columns, context)
    description, state = translate([spec], [weights], [maps], None)
    return builder().build(description, state, dtype)


def _translated(flow: Flow, member: int | None) -> tuple[Flow, dict[str, Any], dict[str, Tensor]]:
    part = chosen(flow, member)
    weights = [part.weights(number) for number in range(len(part))]
    return part, *translate(part.specs, weights, part.preprocessings, part.shares)


def _built(part: Flow, description: dict[str, Any], state: dict[str, Tensor]) -> Any:
    made = builder().build(description, state, torch.float64)
    _agreeing(made, part)
    return made


def _agreeing(made: Any, flow: Flow) -> None:
    def score(x: Array, context: Array | None) -> Array:
        seen = None if context is None else torch.from_numpy(context)
        with torch.no_grad():
            found: Array = made(seen).log_prob(torch.from_numpy(x)).numpy()
        return found

    agree(score, flow, f"zuko {version('zuko')}")
