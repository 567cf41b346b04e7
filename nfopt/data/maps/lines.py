"""The rows of a split table on the line, before their marginal maps, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data.maps.marginals import names_of
from nfopt.data.maps.preprocess import ColumnMap, Preprocessing, check_spread
from nfopt.data.split import Rows

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

_CHUNK = 65_536  # rows at a time, so that float64 copies stay small


@dataclass(frozen=True, eq=False)
class LinePart:
    """One part of the split, with bounds, logs and ties dealt with.

    Attributes:
        line: float64, shape (n, D): what marginal maps are fitted on.
        logdet: float64, shape (n,), nats: of the way from the data to the line.
        context: float64, shape (n, C), on the data's own scale, or None.
        weights: float32, shape (n,), or None; their mean over the training rows is 1.
    """

    line: Array
    logdet: Array
    context: Array | None = None
    weights: Array32 | None = None

    def __len__(self) -> int:
        return len(self.line)

    def take(self, rows: Rows) -> LinePart:
        """Give the part that holds some of the rows."""
        return LinePart(
            line=self.line[rows],
            logdet=self.logdet[rows],
            context=None if self.context is None else self.context[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the split, ready for a flow.

    Attributes:
        z: float32, shape (n, D): what the flow sees.
        logdet: float64, shape (n,), nats: log |det dz/dx|. A row's score on the data's own scale
            is the flow's log_prob(z) + logdet.
        context: float32, shape (n, C), mapped, or None.
        weights: float32, shape (n,), or None; their mean over the training rows is 1.
        source: The same rows before their marginal maps.
    """

    z: Array32
    logdet: Array
    context: Array32 | None = None
    weights: Array32 | None = None
    source: LinePart | None = None

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: Rows) -> Part:
        """Give the part that holds some of the rows."""
        return Part(
            z=self.z[rows],
            logdet=self.logdet[rows],
            context=None if self.context is None else self.context[rows],
            weights=None if self.weights is None else self.weights[rows],
            source=None if self.source is None else self.source.take(rows),
        )

    @property
    def mean_logdet(self) -> float:
        """The (weighted) mean of `logdet`, in nats a row."""
        return float(np.average(self.logdet, weights=self.weights))


@dataclass(frozen=True, eq=False)
class Lines:
    """The three parts before their marginal maps; maps are fitted when asked for, and kept.

    Attributes:
        blank: The preprocessing as far as it does not depend on the marginal maps.
        parts: Training, validation, test.
        merging: What `nfopt.data.maps.precision` found of each choice of maps.
    """

    blank: Preprocessing
    parts: tuple[LinePart, LinePart, LinePart]
    merging: dict[str, list[tuple[ColumnMap, str, list[str]]]] = field(default_factory=dict)
    _fitted: dict[str, Preprocessing] = field(default_factory=dict)
    _mapped: dict[str, tuple[Part, Part, Part]] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse a column that is constant in the training rows.

        Raises:
            DataError: Naming it.
        """
        train = self.parts[0]
        for block, columns in (
            (train.line, self.blank.columns),
            (train.context, self.blank.context),
        ):
            for index, column in enumerate(columns if block is not None else ()):
                check_spread(column.name, block[:, index])  # type: ignore[index]

    def fitted(self, marginals: str) -> Preprocessing:
        """Fit marginal maps on the training rows.

        Args:
            marginals: As in `nfopt.data.maps.marginals.names_of`.

        Raises:
            DataError: If a column can't be mapped so.
            ValueError: If they do not fit the columns.
        """
        if marginals not in self._fitted:
            train, blank = self.parts[0], self.blank
            kinds = names_of(marginals, len(blank.columns), len(blank.context))
            weights = None if train.weights is None else train.weights.astype(np.float64)
            self._fitted[marginals] = blank.refitted(kinds, train.line, train.context, weights)
        return self._fitted[marginals]

    def mapped(self, marginals: str) -> tuple[Part, Part, Part]:
        """Map the three parts; arguments and errors as in `fitted`."""
        if marginals not in self._mapped:
            fitted = self.fitted(marginals)
            train, val, test = (_mapped(part, fitted) for part in self.parts)
            self._mapped[marginals] = (train, val, test)
        return self._mapped[marginals]

    def folds(self, count: int, rng: np.random.Generator) -> list[Lines]:
        """Divide training and validation rows anew: each fold validates on other rows.

        All folds have as many rows; what does not divide is trained on in each of them.

        Args:
            count: Folds, at least 2.
            rng: Draws who validates where.

        Returns:
            As many, with the same test rows; their maps are fitted on their own training rows.
        """
        train, val, test = self.parts
        rows = joined(train, val)
        order, size = rng.permutation(len(rows)), len(rows) // count
        folds = []
        for number in range(count):
            held = np.zeros(len(rows), dtype=bool)
            held[order[number * size : (number + 1) * size]] = True
            parts = (rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held)), test)
            folds.append(Lines(self.blank, parts))
        return folds

    @classmethod
    def of_mapped(
        cls, fitted: Preprocessing, parts: tuple[Part, Part, Part], marginals: str
    ) -> Lines:
        """Go back from parts that are known under one choice of maps alone, as in older files."""
        train, val, test = (replace(part, source=_unmapped(part, fitted)) for part in parts)
        sources = (train.source, val.source, test.source)
        assert all(source is not None for source in sources)
        lines = cls(fitted.blank(), sources)  # type: ignore[arg-type]
        lines._fitted[marginals], lines._mapped[marginals] = fitted, (train, val, test)
        return lines


def joined(first: LinePart, second: LinePart) -> LinePart:
    """Put the rows of two parts one behind the other."""

    def both(one: Array | Array32 | None, other: Array | Array32 | None) -> Any:
        return None if one is None or other is None else np.concatenate([one, other])

    return LinePart(
        line=np.concatenate([first.line, second.line]),
        logdet=np.concatenate([first.logdet, second.logdet]),
        context=both(first.context, second.context),
        weights=both(first.weights, second.weights),
    )


def _mapped(part: LinePart, fitted: Preprocessing) -> Part:
    z, logdet = np.empty(part.line.shape, dtype=np.float32), np.empty(len(part))
    for start in range(0, len(part), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        z[chunk], logdet[chunk] = fitted.from_line(part.line[chunk], part.logdet[chunk])
    context = None
    if part.context is not None:
        context = fitted.forward_context(part.context).astype(np.float32)
    return Part(z=z, logdet=logdet, context=context, weights=part.weights, source=part)


def _unmapped(part: Part, fitted: Preprocessing) -> LinePart:
    def back(block: Array32, columns: tuple[ColumnMap, ...]) -> Array:
        pairs = zip(columns, block.astype(np.float64).T, strict=True)
        return np.column_stack([column.map.inverse(values) for column, values in pairs])

    line = back(part.z, fitted.columns)
    return LinePart(
        line=line,
        logdet=part.logdet - fitted.from_line(line, np.zeros(len(line)))[1],
        context=None if part.context is None else back(part.context, fitted.context),
        weights=part.weights,
    )
