"""nfopt's own two commands as rivals: `fit` and `search`, as a user would run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

from nfopt import api
from nfopt.compare.rival import Array, Clock, Curve, Fitted
from nfopt.data import Part, Prepared
from nfopt.events import Event, Training
from nfopt.files import TemporaryFolder
from nfopt.model import Flow
from nfopt.study.results import FitResult, member_scores, mixture


def fit(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Run `nfopt fit --minutes`."""
    return _run(api.fit, data, clock, seed)


def search(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Run `nfopt search --minutes` on a study in memory."""
    memory = optuna.storages.InMemoryStorage()
    return _run(api.search, data, clock, seed, storage=memory, pictures=False)


def _run(
    call: Callable[..., FitResult], data: Prepared, clock: Clock, seed: int, **more: Any
) -> Fitted:
    curve: Curve = []

    def note(event: Event) -> None:
        if isinstance(event, Training) and event.nll is not None:
            curve.append((event.seconds, event.nll))

    with TemporaryFolder() as folder:
        result = call(
            data,
            minutes=clock.seconds / 60,
            seed=seed,
            threads=1,
            device="cpu",
            out=Path(folder) / "flow",
            report=False,
            on_event=note,
            **more,
        )
    return of_flow(result.flow, seed, result.parameters, result.structure, curve)


def of_flow(flow: Flow, seed: int, parameters: int, structure: str, curve: Curve) -> Fitted:
    """Compare a flow or mixture that nfopt has delivered.

    Args:
        flow: Trained on the rows that are compared on.
        seed: Of its samples.
        parameters: Of all its members.
        structure: In words.
        curve: See `Fitted`.
    """

    def log_prob(part: Part) -> Array:
        scores: Array = mixture(member_scores(flow, part)).numpy()
        return scores

    def sample(count: int) -> object:
        return flow.sample(count, seed=seed)

    return Fitted(
        log_prob,
        None if flow.context_columns else sample,
        parameters,
        f"flows: {len(flow)}; {structure}",
        curve,
    )
