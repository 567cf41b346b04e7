"""From data to what a flow sees and back: bounds by logit or log, then standardise.

Everything is invertible, float64, plain data (JSON both ways), and its log-determinant is
counted, so that scores are on the data's own scale: log p(x) = log q(z) + log |dz/dx|.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.errors import DataError

Array = NDArray[np.float64]

Kind = Literal["identity", "logit", "log", "upper"]


class ColumnHint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done with a column before it is standardised.

    Attributes:
        low: Lower bound (open), or None.
        high: Upper bound (open), or None.
        step: Width within which uniform noise is added to tied values, or None.
    """

    low: float | None = None
    high: float | None = None
    step: float | None = None

    @property
    def kind(self) -> Kind:
        """The map: "logit" of two bounds, "log" of a lower, "upper" of an upper one."""
        if self.low is not None:
            return "log" if self.high is None else "logit"
        return "identity" if self.high is None else "upper"


class ColumnMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fitted map of a column: z = (t(x) - mean) / scale, with t as in `ColumnHint.kind`."""

    name: str
    mean: float
    scale: float
    hint: ColumnHint = ColumnHint()


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fitted preprocessing of a table: one map a feature and one a context column.

    `forward` and `inverse` are exact inverses in float64. Dequantising noise is not part of
    them; `ColumnHint.step` only records its width.
    """

    columns: tuple[ColumnMap, ...]
    context: tuple[ColumnMap, ...] = ()
    version: Literal[1] = 1

    @classmethod
    def fit(
        cls,
        values: Array,
        columns: Sequence[str],
        hints: Sequence[ColumnHint] | None = None,
        *,
        context: Array | None = None,
        context_columns: Sequence[str] = (),
        rows: NDArray[np.intp] | None = None,
        weights: Array | None = None,
    ) -> Preprocessing:
        """Fit mean and deviation of every column.

        Args:
            values: Shape (n, D), on the data's own scale.
            columns: D names.
            hints: D hints, or None for plain standardising.
            context: Shape (n, C), or None. Only standardised; has no log-determinant.
            context_columns: C names.
            rows: The rows to fit on (the training part); None for all.
            weights: Shape (n,), non-negative, or None.

        Raises:
            DataError: If a column is constant or has no finite deviation in these rows.
        """
        hints = [ColumnHint()] * len(columns) if hints is None else hints
        picked = slice(None) if rows is None else rows
        weight = None if weights is None else weights[picked]
        return cls(
            columns=tuple(
                _fit_column(name, values[picked, position], hint, weight)
                for position, (name, hint) in enumerate(zip(columns, hints, strict=True))
            ),
            context=tuple(
                _fit_column(name, context[picked, position], ColumnHint(), weight)
                for position, name in enumerate(context_columns)
                if context is not None
            ),
        )

    @property
    def features(self) -> int:
        """D."""
        return len(self.columns)

    def forward(self, values: Array) -> tuple[Array, Array]:
        """Map data to what the flow sees.

        Args:
            values: Shape (n, D), on the data's own scale.

        Returns:
            z, shape (n, D), and log |det dz/dx| in nats, shape (n,). A row outside a bound has
            density 0: its log-determinant is -inf, the value concerned 0.
        """
        values = self._checked(values, len(self.columns), "values")
        z = np.empty_like(values)
        logdet = np.zeros(len(values))
        for position, column in enumerate(self.columns):
            mapped, slope = _bend(values[:, position], column.hint)
            z[:, position] = (mapped - column.mean) / column.scale
            logdet += slope - np.log(column.scale)
        z[np.isneginf(logdet)[:, None] & ~np.isfinite(z)] = 0.0
        return z, logdet

    def inverse(self, z: Array) -> Array:
        """Map what the flow makes to data, shape (n, D); stays inside the bounds."""
        z = self._checked(z, len(self.columns), "z")
        values = np.empty_like(z)
        for position, column in enumerate(self.columns):
            values[:, position] = _unbend(z[:, position] * column.scale + column.mean, column.hint)
        return values

    def forward_context(self, context: Array) -> Array:
        """Standardise context columns, shape (n, C)."""
        context = self._checked(context, len(self.context), "context")
        mean = np.array([column.mean for column in self.context])
        scale = np.array([column.scale for column in self.context])
        standardised: Array = (context - mean) / scale
        return standardised

    def to_json(self) -> str:
        """Write as JSON: the fields in order, numbers exact."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """Read what `to_json` wrote.

        Raises:
            DataError: If it is no such JSON, or has an unknown field or version.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise DataError(f"the stored preprocessing cannot be read: {error}") from error

    @staticmethod
    def _checked(values: Array, width: int, argument: str) -> Array:
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != width:
            raise ValueError(f"`{argument}` must have shape (n, {width}), not {values.shape}")
        return values


def _fit_column(name: str, column: Array, hint: ColumnHint, weights: Array | None) -> ColumnMap:
    mapped, _ = _bend(column, hint)
    # Shifting first keeps the digits of a column that is large against its deviation.
    shift = float(mapped[0])
    mapped = mapped - shift
    mean = float(np.average(mapped, weights=weights))
    scale = float(np.sqrt(np.average((mapped - mean) ** 2, weights=weights)))
    if scale == 0.0:
        raise DataError(
            f"column {name!r} is constant in the training rows: leave it out with `columns`, "
            "or split in another way"
        )
    if not np.isfinite(scale):
        raise DataError(f"column {name!r} cannot be standardised: its deviation is {scale}")
    return ColumnMap(name=name, mean=mean + shift, scale=scale, hint=hint)


def _bend(x: Array, hint: ColumnHint) -> tuple[Array, Array | float]:
    """Take a column from its bounds to the line; also the log of the slope, -inf outside."""
    low, high = hint.low, hint.high
    if low is None and high is None:
        return x, 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        above = None if low is None else np.log(x - low)
        below = None if high is None else np.log(high - x)
        if above is not None and below is not None and low is not None and high is not None:
            bent, slope = above - below, np.log(high - low) - above - below
        elif above is not None:
            bent, slope = above, -above
        elif below is not None:
            bent, slope = -below, -below
    inside = np.ones(len(x), dtype=np.bool_)
    if low is not None:
        inside &= ~(x <= low)
    if high is not None:
        inside &= ~(x >= high)
    return np.where(inside, bent, np.nan), np.where(inside, slope, -np.inf)


def _unbend(t: Array, hint: ColumnHint) -> Array:
    """Take a column from the line back between its bounds."""
    low, high = hint.low, hint.high
    if low is None and high is None:
        return t
    with np.errstate(over="ignore"):
        if low is not None and high is not None:
            # From the nearer bound: exact in both tails.
            part = np.exp(-np.abs(t))
            near = (high - low) * part / (1.0 + part)
            x = np.where(t < 0.0, low + near, high - near)
        elif low is not None:
            x = low + np.exp(t)
        else:
            x = (high if high is not None else 0.0) - np.exp(-t)
    least = -np.finfo(np.float64).max if low is None else np.nextafter(low, np.inf)
    greatest = np.finfo(np.float64).max if high is None else np.nextafter(high, -np.inf)
    return np.clip(x, least, greatest)


def dequantised(column: Array, hint: ColumnHint, rng: np.random.Generator) -> Array:
    """Spread tied values uniformly over their cell, value +- step / 2, cut at the bounds.

    The likelihood of the spread values is bounded, and its mean is a lower bound on the
    log-probability of the rounded ones (Theis et al. 2016, section 3.1).
    """
    if hint.step is None:
        return column
    low, high = column - 0.5 * hint.step, column + 0.5 * hint.step
    if hint.low is not None:
        np.maximum(low, np.nextafter(hint.low, np.inf), out=low)
    if hint.high is not None:
        np.minimum(high, np.nextafter(hint.high, -np.inf), out=high)
    high -= low
    high *= rng.random(len(column))
    high += low
    return high
