"""A population of flows as one program.

All weights are one tensor `theta` (P, N), a row a member: optimisers, clipping, compaction and
checkpoints are row operations. Each layer sees its own slice, shaped (P, ...).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from nfopt.flows import base, layout
from nfopt.flows.layer import Dropout, Matrices, Order, Pads, Weights, feature_order
from nfopt.spec import FlowSpec


class Stack:
    """Flows that share tensor shapes, with a leading axis P on every weight.

    Attributes:
        specs: One spec a member.
        theta: All weights, shape (P, N); a leaf that requires a gradient. Padding stays zero.
        positions: The members' positions in the list given to `build`.
    """

    def __init__(
        self,
        specs: Sequence[FlowSpec],
        theta: Tensor | None = None,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        pads: Sequence[Pads] | None = None,
        positions: Sequence[int] | None = None,
    ) -> None:
        """Lay out the members' weights; without `theta` they are zero."""
        if not dtype.is_floating_point:
            raise ValueError(f"`dtype` must be torch.float32 or torch.float64, got {dtype}.")
        keys = {spec.shape_key() for spec in specs}
        if len(keys) != 1:
            raise ValueError(
                f"`specs` must be at least one and share their shapes, got {len(keys)} shapes."
            )
        self.specs = tuple(specs)
        self.positions = tuple(range(len(specs)) if positions is None else positions)
        self.device, self.dtype = torch.device(device), dtype
        self.features = specs[0].features
        self.context_features = specs[0].context_features
        self.base = specs[0].base
        self.pads, self.layers = layout.layers(self.specs, pads, self.device, self.dtype)
        self._slots = [
            (number, name, shape)
            for number, layer in enumerate(self.layers)
            for name, shape in layer.shapes.items()
        ]
        self._sizes = [torch.Size(shape).numel() for _, _, shape in self._slots]
        size = sum(self._sizes)
        if theta is None:
            theta = torch.zeros((len(specs), size), device=device, dtype=dtype)
        self.theta = theta.detach().requires_grad_()
        self._named: list[Weights] | None = None

    def __len__(self) -> int:
        """Count the members, P."""
        return len(self.specs)

    def __repr__(self) -> str:
        """Say how many flows of which structure."""
        return f"Stack({len(self)} x {self.specs[0].summary()}, {self.theta.shape[1]} weights each)"

    # ---------------------------------------------------------------------- density and samples

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        dropout: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Map data to the base.

        Args:
            x: (B, D), seen by all members, or (P, B, D).
            context: (B, X) or (P, B, X), where the flow is conditional.
            dropout: A rate a member, shape (P,); needs `generator`.
            generator: Where dropout's randomness comes from, on the stack's device.

        Returns:
            z (P, B, D) and the log-determinant of dz/dx (P, B), in nats.
        """
        state, log_det, order = self._to_base(x, context, dropout, generator)
        names = feature_order(len(self), self.features)
        if (order != names).any():
            index = torch.from_numpy(order.argsort(axis=1)).to(self.device).unsqueeze(-1)
            state = state.gather(1, index.expand_as(state))
        return state.mT, log_det

    def log_prob(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        dropout: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Log-density of each row under each member, (P, B), in nats; arguments as in `forward`."""
        state, log_det, _ = self._to_base(x, context, dropout, generator)
        return base.log_prob(self.base, state) + log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map the base to data: (B, D) or (P, B, D) to (P, B, D)."""
        state = self._rows(z, "z")
        if state.dim() == 2:
            state = state.expand(len(self), -1, -1)
        seen = self._context(context, state.shape[-1])
        for layer, weights in reversed(list(zip(self.layers, self.layer_weights(), strict=True))):
            state = layer.inverse(state, weights, seen)
        return state.mT

    def rsample(self, n: int, generator: torch.Generator, context: Tensor | None = None) -> Tensor:
        """Draw n rows from each member, (P, n, D), with gradients; `context` has n rows."""
        shape = (len(self), n, self.features)
        z = base.sample(self.base, shape, generator, self.device, self.dtype)
        return self.inverse(z, context)

    def sample(self, n: int, generator: torch.Generator, context: Tensor | None = None) -> Tensor:
        """Draw n rows from each member, (P, n, D)."""
        with torch.no_grad():
            return self.rsample(n, generator, context)

    # ---------------------------------------------------------------------------------- members

    def select(self, members: Sequence[int]) -> Stack:
        """Copy some members, in the order given, into a stack with the same padding."""
        chosen = list(members)
        return Stack(
            [self.specs[i] for i in chosen],
            self.theta.detach()[chosen].clone(),
            device=self.device,
            dtype=self.dtype,
            pads=self.pads,
            positions=[self.positions[i] for i in chosen],
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Stack:
        """Copy the stack to a device or a precision."""
        device, dtype = device or self.device, dtype or self.dtype
        theta = self.theta.detach().to(device, dtype, copy=True)
        return Stack(
            self.specs, theta, device=device, dtype=dtype, pads=self.pads, positions=self.positions
        )

    def weights(self, member: int) -> dict[str, Tensor]:
        """Copy one member's own weights, named `layer.weight`, whatever stack it is in."""
        return {key: view.detach().clone() for key, view in self._own(self.theta, member)}

    def load_weights(self, member: int, weights: dict[str, Tensor]) -> None:
        """Set one member's weights, as `weights` returned them.

        Raises:
            ValueError: If a weight is missing, not known, or of another shape.
        """
        views = dict(self._own(self.theta.detach(), member))
        if set(views) != set(weights):
            raise ValueError(
                f"`weights` must be those of the spec, they differ in {set(views) ^ set(weights)}."
            )
        for key, view in views.items():
            if view.shape != weights[key].shape:
                raise ValueError(
                    f"`weights` {key!r} must have shape {tuple(view.shape)}, got"
                    f" {tuple(weights[key].shape)}."
                )
        for key, view in views.items():
            view.copy_(weights[key])

    @property
    def active(self) -> Tensor:
        """Which weights can receive a gradient, (P, N); a row's sum is the parameter count."""
        flags = torch.zeros(self.theta.shape, dtype=torch.bool)
        for member in range(len(self)):
            for key, view in self._own(flags, member):
                number, name = key.split(".")
                alive = self.layers[int(number)].active(name, member)
                view.copy_(torch.ones(()) if alive is None else alive)
        return flags

    def matrices(self) -> list[Matrices]:
        """The positions of the conditioners' weight matrices in theta."""
        matrices, start = [], 0
        for (number, name, shape), size in zip(self._slots, self._sizes, strict=True):
            layer = self.layers[number]
            if name in layer.matrices:
                own = [layer.own_shape(name, member) for member in range(len(self))]
                matrices.append(Matrices(start, size, shape, tuple((o[0], o[-1]) for o in own)))
            start += size
        return matrices

    def with_theta(self, theta: Tensor) -> Stack:
        """The same flows with other weights (P, N), which are not copied."""
        other = copy.copy(self)
        other.theta, other._named = theta.detach(), None
        return other

    def with_weights(self, weights: Sequence[Weights]) -> Stack:
        """The same flows with weights of each layer by name, (P, ...): no longer views of theta."""
        other = copy.copy(self)
        other._named = list(weights)
        return other

    def start(self, generators: Sequence[torch.Generator]) -> None:
        """Draw each member's weights from its own generator (on the CPU, so that devices agree)."""
        for member, generator in enumerate(generators):
            for key, view in self._own(self.theta.detach(), member):
                number, name = key.split(".")
                view.copy_(self.layers[int(number)].start(name, member, generator))

    # ----------------------------------------------------------------------------------- inside

    def layer_weights(self) -> list[Weights]:
        """The weights of each layer by name, (P, ...): views of theta."""
        if self._named is not None:
            return self._named
        named: list[dict[str, Tensor]] = [{} for _ in self.layers]
        # one split has one concatenation as its gradient; slices would make a full tensor each
        pieces = torch.split(self.theta, self._sizes, 1) if self._sizes else ()
        for (number, name, shape), piece in zip(self._slots, pieces, strict=True):
            named[number][name] = piece.view(len(self), *shape)
        return list(named)

    def _own(self, whole: Tensor, member: int) -> Iterator[tuple[str, Tensor]]:
        """Views of one member's own weights in a tensor laid out like theta."""
        start = 0
        for (number, name, shape), size in zip(self._slots, self._sizes, strict=True):
            padded = whole[member, start : start + size].view(shape)
            yield f"{number}.{name}", padded[self.layers[number].part(name, member)]
            start += size

    def _rows(self, x: Tensor, name: str) -> Tensor:
        """Check (B, D) or (P, B, D), and turn it features first."""
        good = x.dim() == 2 or (x.dim() == 3 and len(x) == len(self))
        if not good or x.shape[-1] != self.features:
            raise ValueError(
                f"`{name}` must have shape (B, {self.features}) or"
                f" ({len(self)}, B, {self.features}), got {tuple(x.shape)}."
            )
        return x.to(self.device, self.dtype).mT.contiguous()

    def _context(self, context: Tensor | None, rows: int) -> Tensor | None:
        """Check (B, X) or (P, B, X), where one row serves all, and turn it features first."""
        wanted = self.context_features
        if context is None:
            if wanted:
                raise ValueError(f"`context` must have {wanted} columns for this flow, got None.")
            return None
        good = context.dim() == 2 or (context.dim() == 3 and len(context) == len(self))
        if not wanted or not good or context.shape[-1] != wanted:
            raise ValueError(
                f"`context` must have {wanted or 'no'} columns for this flow,"
                f" got shape {tuple(context.shape)}."
            )
        if context.shape[-2] not in (1, rows):
            raise ValueError(f"`context` must have {rows} rows, got shape {tuple(context.shape)}.")
        return context.to(self.device, self.dtype).mT.contiguous()

    def _to_base(
        self,
        x: Tensor,
        context: Tensor | None,
        dropout: Tensor | None,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor, Order]:
        state = self._rows(x, "x")
        seen = self._context(context, state.shape[-1])
        drop = None
        if dropout is not None:
            if generator is None:
                raise ValueError("`generator` must be given with `dropout`.")
            if dropout.shape != (len(self),):
                raise ValueError(
                    f"`dropout` must have shape ({len(self)},), got {tuple(dropout.shape)}."
                )
            drop = Dropout(dropout.to(self.device, self.dtype), generator)
        log_det = torch.zeros((len(self), state.shape[-1]), device=self.device, dtype=self.dtype)
        for layer, weights in zip(self.layers, self.layer_weights(), strict=True):
            state, gained = layer.forward(state, weights, seen, drop)
            log_det = log_det + gained
        order = self.layers[-1].order if self.layers else feature_order(len(self), self.features)
        if state.dim() == 2:
            state = state.expand(len(self), -1, -1)
        return state, log_det, order


def build(
    specs: Sequence[FlowSpec],
    generator: torch.Generator | Sequence[torch.Generator],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Stack, ...]:
    """Group specs whose shapes agree into stacks, with weights drawn.

    Args:
        specs: The flows, at least one.
        generator: One for all, or one a spec, on the CPU. A member's weights depend on its own
            alone.
        device: Where the stacks live.
        dtype: torch.float32 or torch.float64.

    Returns:
        Stacks in the order of their first member; `positions` says which specs each holds.
    """
    if isinstance(generator, torch.Generator):
        seeds = torch.randint(1 << 62, (len(specs),), generator=generator).tolist()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    else:
        generators = list(generator)
        if len(generators) != len(specs):
            raise ValueError(
                f"`generator` must be one, or one a spec: got {len(generators)} for {len(specs)}."
            )
    if not specs:
        raise ValueError("`specs` must be at least one.")
    groups: dict[str, list[int]] = {}
    for position, spec in enumerate(specs):
        groups.setdefault(spec.shape_key(), []).append(position)
    stacks = []
    for positions in groups.values():
        stack = Stack(
            [specs[i] for i in positions], device=device, dtype=dtype, positions=positions
        )
        stack.start([generators[i] for i in positions])
        stacks.append(stack)
    return tuple(stacks)
