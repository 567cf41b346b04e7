"""The trained flow that a user holds: one flow or an ensemble, with its preprocessing.

    flow = Flow.load("nfopt-runs/magic")
    flow.log_prob(x)                 # nats, on the data's own scale
    flow.sample(1000, seed=0)
    flow.disagreement(x)             # where the members of an ensemble differ: a sign of trust
    flow.save("elsewhere")

An ensemble is the mixture of its members, each with its share.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from nfopt.data import LinePart, Origin, Preprocessing
from nfopt.flows import Stack, build
from nfopt.model import disk
from nfopt.model.arguments import check_device, check_seed, precision_of
from nfopt.model.draw import draw
from nfopt.model.inputs import read_context, read_rows
from nfopt.model.module import FlowModule
from nfopt.model.score import check_shares, mixed, score
from nfopt.model.words import words
from nfopt.spec import FlowSpec

Array = NDArray[np.float64]


class Flow:
    """A trained flow on the data's own scale: K members and their preprocessing.

    Args:
        specs: One a member, for the same features and context.
        weights: Of each member, as `Stack.weights` gives them.
        preprocessing: From data to what the members see: one for all, or one a member.
        info: Anything that JSON can hold; nfopt keeps `name`, `fingerprint`, `versions`, `scores`.
        shares: Of the members in the mixture, positive; None: all alike. They are scaled to sum 1.
        device: Where it computes.

    Raises:
        ValueError: If specs, weights, preprocessing and shares do not fit together.
    """

    def __init__(
        self,
        specs: Sequence[FlowSpec],
        weights: Sequence[Mapping[str, Tensor]],
        preprocessing: Preprocessing | Sequence[Preprocessing],
        info: Mapping[str, Any] | None = None,
        *,
        shares: Sequence[float] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not specs or len(specs) != len(weights):
            raise ValueError(
                f"`specs` and `weights` must be one a member: got {len(specs)} and {len(weights)}."
            )
        if isinstance(preprocessing, Preprocessing):
            preprocessing = [preprocessing] * len(specs)
        maps = list(preprocessing)
        disk.check_fit(specs, maps)
        self.shares = check_shares(shares, len(specs))
        self.specs = tuple(specs)
        self.preprocessings = tuple(maps)
        self.info: dict[str, Any] = dict(info or {})
        self.device = torch.device(check_device(device))
        self._frozen: dict[torch.dtype, FlowModule] = {}  # of `log_prob_torch`, by precision
        # the weights drawn here are overwritten, whatever the seed
        self.stacks = build(self.specs, torch.Generator().manual_seed(0), device=device)
        for stack in self.stacks:
            for row, member in enumerate(stack.positions):
                stack.load_weights(row, dict(weights[member]))

    @classmethod
    def of(
        cls,
        stack: Stack,
        preprocessing: Preprocessing | Sequence[Preprocessing],
        info: Mapping[str, Any] | None = None,
        *,
        members: Sequence[int] | None = None,
    ) -> Flow:
        """Take some members (default: all) of a trained stack."""
        chosen = list(range(len(stack.specs)) if members is None else members)
        specs = [stack.specs[member] for member in chosen]
        weights = [stack.weights(member) for member in chosen]
        return cls(specs, weights, preprocessing, info, device=stack.theta.device)

    def __len__(self) -> int:
        """Count the members, K."""
        return len(self.specs)

    def __repr__(self) -> str:
        """Say the structure in words, how large it is and how good."""
        return words(self.specs, self.context_columns, self.info)

    @property
    def preprocessing(self) -> Preprocessing:
        """The first member's; the others' differ from it in their marginal maps alone."""
        return self.preprocessings[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the D features."""
        return tuple(column.name for column in self.preprocessing.columns)

    @property
    def context_columns(self) -> tuple[str, ...]:
        """The names of the C context columns."""
        return tuple(column.name for column in self.preprocessing.context)

    @property
    def origin(self) -> Origin | None:
        """What the columns of the training table were, if the flow was saved with them."""
        return Origin.of(self.info.get("table"))

    def weights(self, member: int = 0) -> dict[str, Tensor]:
        """Copy one member's weights."""
        for stack in self.stacks:
            if member in stack.positions:
                return stack.weights(stack.positions.index(member))
        raise ValueError(f"`member` must be from 0 to {len(self) - 1}, got {member}.")

    def to(self, device: torch.device | str) -> Flow:
        """Copy the flow to a device."""
        weights = [self.weights(member) for member in range(len(self))]
        more: dict[str, Any] = {"shares": self.shares, "device": device}
        return Flow(self.specs, weights, self.preprocessings, self.info, **more)

    # ------------------------------------------------------------------------------------ density

    def log_prob(
        self,
        x: Any,
        context: Any = None,
        *,
        as_fitted: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> Array:
        """Log-density of rows on the data's own scale, of the mixture of the members.

        Of a tied column it is the density of the values spread within their step: at the value
        given, or with `as_fitted` where the loader put it.

        Args:
            x: Rows, shape (n, D): an array (its columns in the order of `columns`), or a DataFrame
                (its columns are found by name, the context's too).
            context: Shape (n, C), or one row for all, shape (C,); where the flow is conditional.
            as_fitted: Spread tied columns as the loader spread the test rows, from the seed and the
                content of the rows, so that these have the scores that were reported.
            dtype: Precision of the flow: float32, or float64, in which a row's score depends on
                the rows beside it by less than 1e-9.

        Returns:
            Nats, shape (n,). A row outside the bounds of the data has -inf, and so has one so far
            away that its density is below what double precision holds.

        Raises:
            ValueError: If a column is missing, not numeric or not finite, or a shape is wrong.
        """
        scores = self.members_log_prob(x, context, as_fitted=as_fitted, dtype=dtype)
        return mixed(scores, self.shares)

    def log_prob_torch(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density as a tensor, differentiable by x and context; the weights stay as they are.

        Args:
            x: Shape (..., D), on the data's own scale. In float64 the flow computes in float64.
            context: Shape (..., C), or one row for all, (C,); where the flow is conditional.

        Returns:
            Nats, shape (...), of the dtype and on the device of x; otherwise as `log_prob`.
        """
        exact = isinstance(x, Tensor) and x.dtype == torch.float64
        dtype = torch.float64 if exact else torch.float32
        if dtype not in self._frozen:
            self._frozen[dtype] = self.module(dtype=dtype).requires_grad_(False)
        found: Tensor = self._frozen[dtype](x, context)
        return found

    def module(self, *, dtype: DTypeLike | torch.dtype = np.float32) -> FlowModule:
        """Copy the flow into a `torch.nn.Module`: its forward is log_prob, its weights trainable.

        Args:
            dtype: Precision of the weights: float32 or float64.
        """
        precision, shares = precision_of(dtype), self.shares or [1 / len(self)] * len(self)
        stacks = [stack.to(dtype=precision) for stack in self.stacks]
        return FlowModule(stacks, self.preprocessings, shares)

    def members_log_prob(
        self,
        x: Any,
        context: Any = None,
        *,
        as_fitted: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> Array:
        """Log-density of rows under each member, shape (K, n), in nats; arguments as `log_prob`."""
        rows, seen = self._rows(x, context)
        if as_fitted:
            rows = self.preprocessing.as_fitted(rows, seen)
        line, logdet = self.preprocessing.to_line(rows)
        return self.members_scores(LinePart(line, logdet, seen), dtype)

    def members_scores(self, rows: LinePart, dtype: DTypeLike = np.float32) -> Array:
        """Score the rows of a prepared table under each member, shape (K, n), in nats."""
        scores, precision = np.empty((len(self), len(rows))), precision_of(dtype)
        for stack in self.stacks:
            maps = [self.preprocessings[member] for member in stack.positions]
            exact = stack if stack.dtype == precision else stack.to(dtype=precision)
            scores[list(stack.positions)] = score(exact, maps, rows)
        return scores

    def disagreement(self, x: Any, context: Any = None) -> Array:
        """Standard deviation of log_prob across the members, shape (n,), in nats.

        Members agree where the data taught them, and drift apart where it did not. One member has
        nothing to disagree with: 0. Arguments as `log_prob`.
        """
        scores = self.members_log_prob(x, context)
        with np.errstate(invalid="ignore"):
            spread: Array = scores.std(axis=0)
        spread[np.isneginf(scores).all(axis=0)] = 0.0
        return spread

    # ------------------------------------------------------------------------------------ samples

    def sample(
        self,
        n: int,
        *,
        seed: int | None = None,
        context: Any = None,
        dtype: DTypeLike = np.float32,
        round_ties: bool = True,
    ) -> Array:
        """Draw rows on the data's own scale, each from a member drawn at random.

        Args:
            n: Rows.
            seed: The same seed gives the same rows on the same machine; None draws a fresh one.
            context: One row for all, shape (C,), or n rows, shape (n, C).
            dtype: Precision of the way from the base: float32 or float64.
            round_ties: Put columns that were tied in the data back on their grid, between its ends;
                else they keep the noise that they were spread with.

        Returns:
            float64, shape (n, D).
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise ValueError(f"`n` must be a whole number of at least 0, got {n!r}.")
        if seed is not None:
            check_seed(seed)
        precision = precision_of(dtype)
        seen = read_context(context, int(n), self.context_columns, self.origin)
        values = draw(self.stacks, self.preprocessings, self.shares, int(n), seen, seed, precision)
        return self.preprocessing.on_grid(values) if round_ties else values

    # --------------------------------------------------------------------------------------- disk

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write flow.safetensors and flow.json; other files in the directory stay.

        Args:
            directory: Made where it does not exist.

        Returns:
            The directory.
        """
        disk.save(Path(directory), self._stored())
        return Path(directory)

    def save_elsewhere(self, directory: str | os.PathLike[str]) -> Path:
        """Write it where `directory` can't be written: beside it, else in a temporary folder.

        Returns:
            The directory that it was written to.

        Raises:
            OSError: If that can't be written either.
        """
        return disk.save_elsewhere(Path(directory), self._stored())

    def dumps(self) -> tuple[bytes, str]:
        """Give what the two files would hold: the weights as safetensors, the rest as JSON."""
        return disk.dumps(self._stored())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> Flow:
        """Read what `save` wrote; the data is not needed.

        Args:
            path: The directory, or one of the two files in it.
            device: Where it is to compute.

        Raises:
            ValueError: If a file is missing, broken, or of a version that is not known.
        """
        given: object = path
        if not isinstance(given, str | os.PathLike):
            raise TypeError(f"`path` must be a folder's path, got {given!r}.")
        check_device(device)
        stored = disk.load(Path(path))
        try:
            return cls._of(stored, device)
        except ValueError as error:
            raise disk.unreadable(Path(path), error) from None

    @classmethod
    def loads(cls, weights: bytes, text: str, *, device: torch.device | str = "cpu") -> Flow:
        """Read what `dumps` gave; ValueError if it is broken, or of a version that is not known."""
        return cls._of(disk.loads(weights, text), device)

    # ------------------------------------------------------------------------------------- inside

    def _stored(self) -> disk.Stored:
        weights = [self.weights(member) for member in range(len(self))]
        return disk.Stored(self.specs, weights, self.preprocessings, self.info, self.shares)

    @classmethod
    def _of(cls, stored: disk.Stored, device: torch.device | str) -> Flow:
        return cls(
            stored.specs,
            stored.weights,
            stored.preprocessings,
            stored.info,
            shares=stored.shares,
            device=device,
        )

    def _rows(self, x: Any, context: Any) -> tuple[Array, Array | None]:
        return read_rows(x, context, self.columns, self.context_columns, self.origin)
