"""Do the same several times: in an exported program as one loop, not as so many copies."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

FEW = 2  # copies that are no larger than a loop

State = tuple[Tensor, ...]


def repeat(times: int, step: Callable[..., State], *state: Tensor) -> State:
    """Apply `step` to tensors, then to what it gave, and so on.

    Args:
        times: How often.
        step: From tensors to as many of the same shapes, none of them one that came in.
        state: The first ones.
    """
    if times > FEW and exporting():
        return _loop(times, step, state)
    for _ in range(times):
        state = step(*state)
    return state


def exporting() -> bool:
    """Say whether torch.export is tracing, in a torch that knows loops."""
    asked = getattr(torch.compiler, "is_exporting", None)
    return asked is not None and hasattr(torch, "while_loop") and bool(asked())


def _loop(times: int, step: Callable[..., State], state: State) -> State:
    def goes_on(done: Tensor, *now: Tensor) -> Tensor:
        return done < times

    def once(done: Tensor, *now: Tensor) -> State:
        return (done + 1, *step(*now))

    start = (torch.zeros((), dtype=torch.int64), *state)
    found: State = torch.while_loop(goes_on, once, start)  # type: ignore[no-untyped-call]
    return found[1:]
