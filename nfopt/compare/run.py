"""Run rivals one after the other on one table, and put what each reached beside the others.

for row in compare(data, chosen(None), seconds=180): print(row.rival.name, row.test)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from nfopt.compare import classical, ours, zuko_flows
from nfopt.compare.rival import Array, Clock, Curve, Fitted, Rival
from nfopt.data import Prepared

RIVALS = (
    Rival("fit", "the best known recipe, no search", ours.fit, ours=True),
    Rival("search", "the search, in memory", ours.search, ours=True),
    Rival("zuko", "zuko's NSF as a careful user trains it", zuko_flows.recipe, ("zuko",)),
    Rival("sbi", "the settings of sbi's default nsf", zuko_flows.sbi_settings, ("zuko",)),
    Rival("tpe", "Optuna's TPE over zuko's flows", zuko_flows.tpe, ("zuko",)),
    Rival("mixture", "a Gaussian mixture", classical.gaussian_mixture, ("sklearn.mixture",)),
    Rival("vine", "a vine copula", classical.vine, ("pyvinecopulib",)),
)
NOT_COMPARED = "foundation models are not compared: their weights can't be had offline"
ROWS = 1000  # scored and sampled, to time it


@dataclass(frozen=True, eq=False)
class Row:
    """What a rival reached.

    Attributes:
        rival: Which.
        seconds: It took, by the clock that was given.
        what: It chose.
        parameters: Free numbers, or None.
        validation: Mean log-likelihood of the validation rows, nats a row; -inf where one has
            density 0.
        test: Mean log-likelihood of the test rows that have a density, nats a row.
        test_2se: Two standard errors of it.
        scores: Of each test row, shape (n,).
        without: Test rows of density 0 (or not finite), which `test` leaves out.
        score_seconds: To score 1,000 rows.
        sample_seconds: To draw 1,000 rows; None where it can't.
        failed: Why there is no result, or "".
        curve: Seconds and validation NLL while it was fitted.
    """

    rival: Rival
    seconds: float = 0.0
    what: str = ""
    parameters: int | None = None
    validation: float = math.nan
    test: float = math.nan
    test_2se: float = math.nan
    scores: Array = field(default_factory=lambda: np.empty(0))
    without: int = 0
    score_seconds: float = math.nan
    sample_seconds: float | None = None
    failed: str = ""
    curve: Curve = field(default_factory=list)


def chosen(names: Sequence[str] | None, rivals: Sequence[Rival] | None = None) -> list[Rival]:
    """Choose rivals by name, in the order of `rivals`; None: all of them.

    Raises:
        ValueError: If a name is not known.
    """
    known = {rival.name: rival for rival in (RIVALS if rivals is None else rivals)}
    for name in names or ():
        if name not in known:
            raise ValueError(f"`methods` must be among {', '.join(known)}, got {name!r}.")
    return [rival for name, rival in known.items() if names is None or name in names]


def compare(
    data: Prepared,
    rivals: Sequence[Rival],
    *,
    seconds: float,
    seed: int = 0,
    on_begin: Callable[[Rival], None] = lambda rival: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Row]:
    """Fit each rival for the same seconds on the same rows, and score it once on the test rows.

    Args:
        data: Split and preprocessed.
        rivals: Methods, one after the other.
        seconds: Of each.
        seed: Of everything random.
        on_begin: Told which one begins.
        clock: What tells the peers' time; nfopt's own commands go by wall clock.

    Yields:
        A row a rival, as soon as it is known. A peer that is not installed or fails says why.

    Raises:
        ValueError: If nfopt itself refuses the data.
    """
    for rival in rivals:
        if missing := rival.missing():
            yield Row(rival, failed=f"not installed: {', '.join(missing)}")
            continue
        on_begin(rival)
        own = Clock(seconds, clock)
        try:
            rival.load()
            own = Clock(seconds, clock)
            fitted = rival.fit(data, own, seed)
            row = measured(rival, fitted, data, own.gone())
        except Exception as error:
            if rival.ours:
                raise
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            row = Row(rival, own.gone(), failed=reason)
        yield row


def measured(rival: Rival, fitted: Fitted, data: Prepared, seconds: float) -> Row:
    """Score what was fitted in so many seconds, once on the test rows, and time it."""
    validation = fitted.log_prob(data.part("val"))
    part = data.part("test")
    scores = fitted.log_prob(part)
    thousand = part.take(np.arange(ROWS) % len(part))
    began = time.perf_counter()
    fitted.log_prob(thousand)
    scoring = time.perf_counter() - began
    sampling = None
    if fitted.sample is not None:
        began = time.perf_counter()
        fitted.sample(ROWS)
        sampling = time.perf_counter() - began
    good = scores[np.isfinite(scores)]
    mean, error = _mean(good)
    whole = float(np.mean(validation)) if np.isfinite(validation).all() else -math.inf
    return Row(
        rival,
        seconds,
        fitted.what,
        fitted.parameters,
        whole,
        mean if len(good) else -math.inf,
        error,
        scores,
        len(scores) - len(good),
        scoring,
        sampling,
        curve=fitted.curve,
    )


def _mean(values: Array) -> tuple[float, float]:
    """Mean, and two standard errors of it; nan where there are too few values."""
    if len(values) < 2:
        return (float(values[0]) if len(values) else math.nan), math.nan
    return float(values.mean()), float(2 * values.std(ddof=1) / np.sqrt(len(values)))


def difference(first: Row, second: Row) -> tuple[float, float]:
    """How far one is ahead on the rows that both have a density for, and two standard errors."""
    both = np.isfinite(first.scores) & np.isfinite(second.scores)
    return _mean(first.scores[both] - second.scores[both])


def passed_after(row: Row, validation: float) -> float | None:
    """Seconds after which a validation log-likelihood was above a value for the first time."""
    return next((seconds for seconds, nll in row.curve if -nll > validation), None)


def best_of(rows: Sequence[Row]) -> Row | None:
    """Whoever validates best; None where nobody has a finite validation log-likelihood."""
    known = [row for row in rows if not row.failed and math.isfinite(row.validation)]
    return max(known, key=lambda row: row.validation, default=None)
