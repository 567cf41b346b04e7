"""A flow as programs of torch.export: its log-density, and its samples from normal noise.

Both take any number of rows on the data's own scale, in float64. A program is traced from the
flow's module, so that it has all kinds of layers and maps that nfopt has. It holds no names of ours
and no paths.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from nfopt.errors import ExportError
from nfopt.flows import base
from nfopt.model import Flow
from nfopt.model.module import FlowModule

ROWS = 7  # of the example that a program is traced with; neither 0 nor 1, which are special
KEPT = ("val", "tensor_meta", "unbacked_bindings")  # what a node must know of itself


@dataclass(frozen=True)
class Input:
    """What a program takes: its name, its shape but for the rows, and what stands in it."""

    name: str
    shape: tuple[int, ...]
    holds: str


class LogProb(nn.Module):
    """The log-density of rows: (x) or (x, context)."""

    def __init__(self, flow: FlowModule) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, *given: Tensor) -> Tensor:
        """Score rows: nats, shape (n,)."""
        found: Tensor = self.flow(*given)
        return found


class Sample(nn.Module):
    """Rows from noise: (noise), then context, where there is any, and choice, for a mixture."""

    def __init__(self, flow: FlowModule, names: Sequence[str]) -> None:
        super().__init__()
        self.flow, self.names = flow, tuple(names)

    def forward(self, *given: Tensor) -> Tensor:
        """Draw one row a row of noise: (n, D)."""
        named = dict(zip(self.names, given, strict=True))
        features = self.flow.features
        drawn = [
            base.of_normals(part.stack.base, named["noise"], features).expand(
                len(part.stack), -1, -1
            )
            for part in self.flow.parts
        ]
        x = self.flow.inverse(drawn, named.get("context"))
        if "choice" not in named:
            return x[0]
        below = self.flow.shares.cumsum(0)[:-1]
        which = (named["choice"].unsqueeze(-1) >= below).sum(-1)
        return x.gather(0, which.view(1, -1, 1).expand(1, -1, features))[0]


def log_prob_of(flow: Flow) -> tuple[LogProb, list[Input]]:
    """Give the module of a flow's log-density, and what it takes."""
    wanted = [Input("x", (len(flow.columns),), "the columns, on the data's own scale")]
    return LogProb(_module(flow)), [*wanted, *_context(flow)]


def sample_of(flow: Flow) -> tuple[Sample, list[Input]]:
    """Give the module that draws rows, and what it takes."""
    normals = len(flow.columns) * max(base.normals(spec.base) for spec in flow.specs)
    wanted = [Input("noise", (normals,), "independent standard normals"), *_context(flow)]
    if len(flow) > 1:
        wanted.append(Input("choice", (), "uniform from 0 to 1: which member draws the row"))
    return Sample(_module(flow), [one.name for one in wanted]), wanted


def traced(
    module: LogProb | Sample,
    inputs: Sequence[Input],
    written_out: Mapping[Any, Callable[..., Any]] | None = None,
) -> ExportedProgram:
    """Trace a module into a program of any number of rows, at least one.

    Args:
        module: Of this file.
        inputs: What it takes.
        written_out: Operators of a log-density, by what each is to be replaced.

    Raises:
        ExportError: If torch.export can't.
    """
    example = examples(inputs, ROWS)
    rows = {0: Dim("rows", min=1)}
    shapes = {"given": (rows,) * len(example)}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on what it calls itself
            found = export(module, example, dynamic_shapes=shapes)
            if isinstance(module, LogProb):  # nothing in place: differentiable by its inputs
                found = found.run_decompositions(dict(written_out or {}))
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        why = str(error).strip().split("\n")[0]
        raise ExportError(f"torch {torch.__version__} can't export this flow: {why:.200}") from None
    _strip(found.graph_module)
    return found


def examples(inputs: Sequence[Input], rows: int) -> tuple[Tensor, ...]:
    """Make inputs of the right shapes, between 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    kind: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    return tuple(torch.rand(rows, *one.shape, **kind) for one in inputs)


def _module(flow: Flow) -> FlowModule:
    made = flow.to("cpu").module(dtype=torch.float64).requires_grad_(False).eval()
    for part in made.modules():
        for name, table in part.named_buffers(recurse=False):  # views of one tensor are not saved
            setattr(part, name, table.clone(memory_format=torch.contiguous_format))
    return made


def _context(flow: Flow) -> list[Input]:
    many = len(flow.context_columns)
    return [Input("context", (many,), "the context's columns, on their own scale")] if many else []


def _strip(graph: torch.fx.GraphModule) -> None:
    """Forget from which lines of which files the nodes came."""
    for part in graph.modules():
        if isinstance(part, torch.fx.GraphModule):
            for node in part.graph.nodes:
                node.meta = {key: node.meta[key] for key in KEPT if key in node.meta}
