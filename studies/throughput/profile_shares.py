"""Where the time of a training step goes: matrix products, the scalar map, the optimiser, the rest.

The profiler's own time falls on every operation alike, so that shares of many small operations come
out a little too large; the sum of all operations' own times is the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from nfopt.flows.maps import AffineMap
from nfopt.flows.spline import SplineMap
from nfopt.training.optimiser import PopulationAdam

PRODUCTS = {"aten::addmm", "aten::baddbmm", "aten::bmm", "aten::mm"}
PARTS = ("matrix products", "scalar map", "optimiser", "the rest")
MAP = "nfopt: scalar map"
OPTIMISER = "nfopt: optimiser"
BACKWARD = "autograd::engine::evaluate_function"


def _ancestors(event: FunctionEvent | None) -> list[FunctionEvent]:
    found = []
    while event is not None:
        found.append(event)
        event = event.cpu_parent
    return found


def _labelled(label: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        with record_function(label):
            return function(*args)

    return run


def shares(step: Callable[[], object], steps: int) -> dict[str, float]:
    """Profile some steps; return each part's share of the time, adding up to 1."""
    step()
    with (
        mock.patch.object(AffineMap, "forward", _labelled(MAP, AffineMap.forward)),
        mock.patch.object(SplineMap, "forward", _labelled(MAP, SplineMap.forward)),
        mock.patch.object(PopulationAdam, "step", _labelled(OPTIMISER, PopulationAdam.step)),
        profile(activities=[ProfilerActivity.CPU]) as profiled,
    ):
        for _ in range(steps):
            step()
    events = list(profiled.events())
    chains = {id(event): _ancestors(event) for event in events}
    # a backward node has the sequence number of the forward operation that made it
    ours = {
        event.sequence_nr
        for event in events
        if event.sequence_nr >= 0 and any(above.name == MAP for above in chains[id(event)])
    }
    spent: Counter[str] = Counter()
    for event in events:
        chain = chains[id(event)]
        nodes = [above for above in chain if above.name.startswith(BACKWARD)]
        if any(above.name == OPTIMISER for above in chain):
            part = "optimiser"
        elif event.name in PRODUCTS:
            part = "matrix products"
        elif any(above.name == MAP for above in chain) or any(
            node.sequence_nr in ours for node in nodes
        ):
            part = "scalar map"
        else:
            part = "the rest"
        spent[part] += event.self_cpu_time_total
    return {part: spent[part] / spent.total() for part in PARTS}
