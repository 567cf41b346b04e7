"""`search_posterior`: from simulations to a posterior of sbi, by a search."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from nfopt import api
from nfopt.errors import ExportError
from nfopt.events import OnEvent
from nfopt.export.translate import LAYERS, MAPS
from nfopt.sbi.estimators import check_prior, to_posterior
from nfopt.sbi.simulations import read
from nfopt.storage.open import Storage
from nfopt.study.arguments import Space, space_of


def search_posterior(
    theta: Any,
    x: Any,
    *,
    prior: Any,
    minutes: float | None = None,
    trials: int | None = None,
    study: str | None = None,
    storage: Storage | None = None,
    space: Space | None = None,
    members: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    on_event: OnEvent | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Any:
    """Search, train and save a flow of theta given x, and give it as a posterior of sbi.

    A tenth of the simulations validates, as in sbi, and none is kept for a test. A study of the
    same name in the same storage goes on where it was.

    Args:
        theta: Parameters drawn from the prior, a tensor or an array, shape (n, D).
        x: What was simulated with them, shape (n, C); simulations that are not finite are left
            out, and a warning counts them.
        prior: As sbi takes one: a distribution of torch's, or a list of them.
        minutes: Wall clock of the search. With neither this nor `trials`, 10.
        trials: As in `nfopt.search`; with both, what comes first.
        study: As in `nfopt.search`.
        storage: As in `nfopt.search`.
        space: As in `nfopt.search`; {"steps": 500} makes trainings short.
        members: As in `nfopt.search`.
        device: Where it trains, as in `nfopt.search`; the posterior is on the CPU.
        threads: As in `nfopt.search`.
        seed: Of everything random.
        out: Folder for the flow; None: nfopt-runs/STUDY. `to_posterior(nfopt.load(out), prior)`
            makes the posterior again.
        on_event: As in `nfopt.search`.
        should_stop: As in `nfopt.search`.

    Returns:
        A `DirectPosterior`, or of a mixture an `EnsemblePosterior` with the members' shares.

    Raises:
        DataError: If a column is constant.
        ExportError: If `space` asks for what zuko has no counterpart for.
        NfoptError: If sbi is not installed.
        StudyError: If study or storage do not fit.
        ValueError: If an argument does not.
    """
    simulations = read(theta, x)
    prior = check_prior(prior, simulations.features.shape[1])
    _check_space(space)
    result = api.search(
        simulations.table(seed),
        minutes=minutes,
        trials=trials,
        study=study,
        storage=storage,
        space=space,
        members=members,
        device=device,
        threads=threads,
        seed=seed,
        out=out,
        on_event=on_event,
        should_stop=should_stop,
    )
    return to_posterior(result.flow, prior)


def _check_space(space: Space | None) -> None:
    """Refuse, before the search, a space whose flows could not be made a posterior."""
    _, limits, whole = space_of(space)
    asked = (limits or {}) if whole is None else whole.limits
    for key, kinds in (("layers", LAYERS), ("maps", MAPS)):
        given = asked.get(key, ())
        known = {kind.__struct_config__.tag for kind in kinds}
        for name in [given] if isinstance(given, str) else given:
            if name not in known:
                raise ExportError(
                    f"`space` must be without {key} of kind {name!r}: sbi gets a zuko flow, and"
                    " zuko has none."
                )
