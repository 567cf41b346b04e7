"""All flows of a search at once: every option of every layer has weights, which paths share.

Many paths are evaluated together. Paths with a common prefix share its states, and all states that
reach the same option at one place are evaluated as one batch, so that all m^n paths of n layers
take m + m^2 + ... + m^n evaluations of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from nfopt.autonf.costs import clock_of
from nfopt.autonf.objective import MOST_PATHS, enumerate_paths
from nfopt.autonf.options import NOTHING, Option, Path, check_options
from nfopt.autonf.rows import Minibatch
from nfopt.autonf.settings import Settings
from nfopt.flows import Stack, build
from nfopt.flows.base import log_prob as base_log_prob
from nfopt.spec import FlowSpec, Identity, Normal

EXACT_STEPS = 8.0  # cost of a step over all paths, in steps of one path, up to which it is used
REPEATS = 3  # of a measured step


class Supernet:
    """Shared weights for every option at every place.

    Args:
        options: What each layer may be.
        places: Layers, n.
        features: D.
        generator: Draws the weights; on the CPU.
        context_features: Columns given as context.
        device: Where the weights are.
        dtype: Of the weights.

    Attributes:
        stacks: One flow of one member for each place and option; None where it does nothing.
    """

    def __init__(
        self,
        options: Sequence[Option],
        places: int,
        features: int,
        generator: torch.Generator,
        *,
        context_features: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.options = check_options(options, features)
        self.places, self.features, self.context_features = places, features, context_features
        self.device, self.dtype = torch.device(device), dtype
        self.stacks = [
            [self._stack(option, place, generator) for option in self.options]
            for place in range(places)
        ]

    def _stack(self, option: Option, place: int, generator: torch.Generator) -> Stack | None:
        layers = tuple(x for x in option.at(place) if not isinstance(x, Identity))
        if not layers:
            return None
        spec = FlowSpec(
            features=self.features, layers=layers, context_features=self.context_features
        )
        (stack,) = build([spec], generator, device=self.device, dtype=self.dtype)
        return stack

    def parameters(self, places: Iterable[int] | None = None) -> list[Tensor]:
        """The weights of some places, or of all: leaves of shape (1, N)."""
        chosen = range(self.places) if places is None else places
        return [s.theta for place in chosen for s in self.stacks[place] if s is not None]

    def log_prob(
        self, paths: Tensor | Sequence[Path], x: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Log-density of rows under each path.

        Args:
            paths: Options by place, shape (K, n); `NOTHING` skips a place.
            x: Rows, shape (B, D).
            context: Shape (B, C), or None.

        Returns:
            Shape (K, B), in nats, on the scale of `x`.
        """
        paths = torch.as_tensor(paths, dtype=torch.long)
        state, log_det = x[None], x.new_zeros((1, len(x)), dtype=self.dtype)
        owner = torch.zeros(len(paths), dtype=torch.long)  # which state a path is in
        for place in range(self.places):
            # equal keys: the same prefix and the same option; sorted by option
            keys = (paths[:, place] + 1) * len(state) + owner
            unique, owner = torch.unique(keys, return_inverse=True)
            parents, choices = unique % len(state), unique // len(state) - 1
            moved, gained = [], []
            for choice in sorted(set(choices.tolist())):
                rows = parents[choices == choice].to(x.device)
                after, more = self._forward(place, choice, state[rows], context)
                moved.append(after)
                gained.append(log_det[rows] + more)
            state, log_det = torch.cat(moved), torch.cat(gained)
        log_p = base_log_prob(Normal(), state.mT) + log_det
        return log_p[owner.to(x.device)]

    def _forward(
        self, place: int, choice: int, state: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor | float]:
        """Apply one option to states (R, B, D); also returns the log-determinant (R, B)."""
        stack = None if choice == NOTHING else self.stacks[place][choice]
        if stack is None:
            return state, 0.0
        count, rows, features = state.shape
        seen = None if context is None else context.repeat(count, 1)
        after, log_det = stack.forward(state.reshape(count * rows, features), seen)
        return after.reshape(count, rows, features), log_det.reshape(count, rows)


def is_exact(
    net: Supernet,
    settings: Settings,
    batch: Minibatch,
    clock: Callable[[], float] | None = None,
) -> bool:
    """Whether a search evaluates all paths of a block, rather than drawing some.

    Args:
        net: Shared weights; unchanged.
        settings: Checked; "auto" is decided by a measured step of the first block.
        batch: Rows to measure on.
        clock: Seconds; None: see `clock_of`.
    """
    if settings.objective == "mixture" or settings.estimator == "exact":
        return True
    block = settings.blocks[0]
    if settings.estimator == "sampled" or len(net.options) ** len(block) > MOST_PATHS:
        return False
    return exact_steps(net, block, batch, clock) <= EXACT_STEPS


def exact_steps(
    net: Supernet,
    block: range,
    batch: Minibatch,
    clock: Callable[[], float] | None = None,
) -> float:
    """Measured cost of a step over all paths, in steps of one path (mean over the options)."""
    clock = clock or clock_of(net.device)
    count, places = len(net.options), range(net.places)
    all_paths = enumerate_paths([range(count) if p in block else [NOTHING] for p in places])
    single = [[k if p in block else NOTHING for p in places] for k in range(count)]

    def seconds(paths: Tensor) -> float:
        best = float("inf")
        for _ in range(REPEATS):
            began = clock()
            loss = -net.log_prob(paths, batch.x, batch.context).mean()
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            if loss.is_cuda:
                torch.cuda.synchronize(loss.device)
            best = min(best, clock() - began)
        for theta in net.parameters():
            theta.grad = None
        return best

    alone = sum(seconds(torch.tensor([path])) for path in single) / count
    return seconds(all_paths) / max(alone, 1e-9)
