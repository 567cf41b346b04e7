"""A trained flow or mixture as a module of torch: differentiable by rows, context and weights.

    module = flow.module()
    module(x)                  # nats, on the data's own scale; x of shape (..., D)
    module(x, context)         # where the flow is conditional
    torch.optim.AdamW(module.parameters())

Columns are mapped in float64 whatever the precision of the weights, so that a column with a large
mean keeps its digits. Gradients are of first order only where the flow has splines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nfopt.data import Preprocessing
from nfopt.flows import Stack
from nfopt.model.column_maps import KINDS
from nfopt.model.score import FAR
from nfopt.model.tables import Table, bounds_table, marginal_tables

Move = Callable[[Tensor], Tensor]


class Exact(nn.Module):
    """A module whose own buffers stay in float64 wherever it goes."""

    def _apply(self, fn: Move, recurse: bool = True) -> Exact:
        exact = [(n, b) for n, b in self.named_buffers(recurse=False) if b.is_floating_point()]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, one in exact:
            setattr(self, name, one.to(fn(one.new_zeros(())).device))
        return self


class FlowModule(Exact):
    """K flows and their preprocessing as one module; made by `Flow.module`.

    Its parameters are the weights by layer, `parts.0.layer_2_output` and so on: each with a
    leading axis for the flows that share their shapes. Shares and column maps are buffers.

    Args:
        stacks: The flows, grouped by shape.
        maps: The preprocessing of each of the K flows.
        shares: Of each in the mixture, of sum 1.
    """

    shares: Tensor
    bounds: Maps
    parts: Any  # an nn.ModuleList of `Part`

    def __init__(
        self, stacks: Sequence[Stack], maps: Sequence[Preprocessing], shares: Sequence[float]
    ) -> None:
        super().__init__()
        self.features, self.context_features = stacks[0].features, stacks[0].context_features
        self.bounds = Maps(bounds_table(maps[0].columns), stacks[0].device)
        self.parts = nn.ModuleList(
            Part(stack, [maps[member] for member in stack.positions]) for stack in stacks
        )
        order = [member for stack in stacks for member in stack.positions]
        share = torch.tensor([shares[member] for member in order], dtype=torch.float64)
        self.register_buffer("shares", share.to(stacks[0].device))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density of rows under the mixture.

        Args:
            x: Shape (..., D), on the data's own scale. Precision is that of the weights.
            context: Shape (..., C), or one row for all, (C,); where the flow is conditional.

        Returns:
            Nats, shape (...), of the dtype and on the device of x; -inf for a row outside the
            bounds of the data, or too far away.

        Raises:
            ValueError: If a shape is wrong, or context is missing or not wanted.
            TypeError: If x is no tensor.
        """
        given: object = x
        if not isinstance(given, Tensor):
            raise TypeError(f"`x` must be a tensor, got {type(given).__name__}.")
        if not x.is_floating_point() or x.dim() == 0 or x.shape[-1] != self.features:
            raise ValueError(
                f"`x` must be of floats and have {self.features} columns,"
                f" got {x.dtype} of shape {tuple(x.shape)}."
            )
        rows, seen = x.reshape(-1, self.features), self._context(context, x.shape[:-1])
        line, log_det = self.bounds(rows.to(self.shares.device, torch.float64))
        scores = torch.cat([part(line, seen) for part in self.parts])
        return self._mixed(scores + log_det).to(x.device, x.dtype).reshape(x.shape[:-1])

    def inverse(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Map draws from each part's bases, (P, n, D), to data: (K, n, D), in float64."""
        rows = [part.inverse(z, context) for part, z in zip(self.parts, noise, strict=True)]
        return self.bounds.inverse(torch.cat(rows))

    def _mixed(self, scores: Tensor) -> Tensor:
        if len(scores) == 1:
            return scores[0]
        highest = scores.amax(0, keepdim=True).detach()
        shift = torch.where(highest.isfinite(), highest, 0)
        shares = self.shares.to(scores.dtype).unsqueeze(-1)
        whole = (shares * (scores - shift).exp()).sum(0)
        none = whole <= 0  # in any member: nothing to differentiate
        return torch.where(none, -torch.inf, torch.where(none, 1, whole).log() + shift[0])

    def _context(self, context: Tensor | None, batch: torch.Size) -> Tensor | None:
        wanted = self.context_features
        if context is None:
            if wanted:
                raise ValueError(f"`context` must have {wanted} columns for this flow, got None.")
            return None
        if not wanted or context.dim() == 0 or context.shape[-1] != wanted:
            raise ValueError(
                f"`context` must have {wanted or 'no'} columns for this flow,"
                f" got shape {tuple(context.shape)}."
            )
        try:
            seen = context.expand(*batch, wanted).reshape(-1, wanted)
        except RuntimeError:
            raise ValueError(
                f"`context` must have shape {(*batch, wanted)} or ({wanted},),"
                f" got {tuple(context.shape)}."
            ) from None
        return seen.to(self.shares.device, torch.float64)


class Part(nn.Module):
    """Flows of one shape, as a stack trains them, each behind marginal maps of its own."""

    columns: Maps
    context: Maps

    def __init__(self, stack: Stack, maps: Sequence[Preprocessing]) -> None:
        super().__init__()
        self.stack = stack.with_theta(stack.theta[:, :0].clone())  # the weights are parameters here
        self.layers = [list(weights) for weights in stack.layer_weights()]
        for number, weights in enumerate(stack.layer_weights()):
            for name, weight in weights.items():
                own = nn.Parameter(weight.detach().clone())
                self.register_parameter(f"layer_{number}_{name}", own)
        self.columns = Maps(marginal_tables([one.columns for one in maps]), stack.device)
        given = marginal_tables([one.context for one in maps]) if maps[0].context else []
        self.context = Maps(given, stack.device)

    def forward(self, line: Tensor, context: Tensor | None) -> Tensor:
        """Score rows (n, D) between their bounds: (P, n), in float64."""
        x, log_det = self.columns(line)
        log_p = self._flows().log_prob(x, self._seen(context)).double()
        gone = log_p.isnan() & (x.abs() > FAR).any(-1)
        found: Tensor = torch.where(gone, -torch.inf, log_p) + log_det
        return found

    def inverse(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Map draws from the base, (P, n, D), to between the bounds, in float64."""
        line: Tensor = self._flows().inverse(z, self._seen(context))
        return self.columns.inverse(line.double())

    def _seen(self, context: Tensor | None) -> Tensor | None:
        return None if context is None else self.context(context)[0]

    def _flows(self) -> Stack:
        weights = [
            {name: getattr(self, f"layer_{number}_{name}") for name in names}
            for number, names in enumerate(self.layers)
        ]
        return self.stack.with_weights(weights)

    def _apply(self, fn: Move, recurse: bool = True) -> Part:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        like = fn(torch.zeros((), device=self.stack.device, dtype=self.stack.dtype))
        if (like.device, like.dtype) != (self.stack.device, self.stack.dtype):
            self.stack = self.stack.to(like.device, like.dtype)
        return self


class Maps(Exact):
    """The maps of all columns, one after the other, as buffers that stay in float64."""

    def __init__(self, tables: Sequence[Table], device: torch.device) -> None:
        super().__init__()
        self.kinds = [kind for kind, _ in tables]
        self.sizes = [len(arguments) for _, arguments in tables]
        for number, (_, arguments) in enumerate(tables):
            for place, one in enumerate(arguments):
                self.register_buffer(f"_{number}_{place}", one.to(device))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x; also the log of |dz/dx|, nats, one a row."""
        log_det = x.new_zeros(x.shape[:-1])
        for one in self._transforms():
            z = one(x)
            log_det = log_det + one.log_abs_det_jacobian(x, z)
            x = z
        return x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Map back."""
        for one in reversed(self._transforms()):
            z = one.inv(z)
        return z

    def _transforms(self) -> list[Any]:
        return [
            KINDS[kind](*(getattr(self, f"_{number}_{place}") for place in range(size)))
            for number, (kind, size) in enumerate(zip(self.kinds, self.sizes, strict=True))
        ]
