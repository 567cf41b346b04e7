"""`Objective`: one flow a trial, for plain `study.optimize` with any sampler and any pruner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna

from nfopt import attributes as names
from nfopt import seeds, stored
from nfopt.data import DEFAULT, Prepared
from nfopt.distributed.lease import Lease, lease_seconds
from nfopt.recipes import portfolio
from nfopt.space import SearchSpace
from nfopt.study.candidate import Candidate, describe, facts, fault, report, values_of
from nfopt.study.create import check_objectives
from nfopt.study.dataset import Source, read
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import train_stack
from nfopt.suggest.encoding import check_encoding, declared_space
from nfopt.training import Rung

TRIAL_SHARE = 0.25  # of a full training


class Objective:
    """The validation NLL of the flow that a trial suggests, on the data's own scale.

        study = optuna.create_study()
        study.optimize(nfopt.Objective("magic"), n_trials=50)

    Each trial trains one flow, is reported at 25 and 50% of its steps (as percent), may be pruned
    there by the study's pruner if it has one objective, and gets the attributes `nfopt:*`.

    Args:
        data: Whatever `nfopt.search` takes, or a `Prepared`.
        space: What is searched; None: all that nfopt has, around the recipes for this data.
        objectives: One or more of "nll", "parameters", "inverse_cost"; a study minimises each.
        encoding: Of masks and edges: "packed", or "bits", one parameter a bit; None: bits for
            samplers other than `nfopt.EvolutionSampler` while there are at most 64, with a warning
            where there are more. `space.build` reads both.
        share: Of the full steps that a trial is trained for, above 0 and at most 1.
        device: Where to train.
        seed: Of weights, batches and dropout, with the trial's number; of the split, if `data` is
            not yet split.

    Raises:
        DataError: If the data can't be used.
        ValueError: If an argument does not fit; in a trial, if the study's earlier ones had another
            space.
    """

    def __init__(
        self,
        data: Any,
        space: SearchSpace | None = None,
        *,
        objectives: Sequence[str] = ("nll",),
        encoding: str | None = None,
        share: float = TRIAL_SHARE,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        check_encoding(encoding)
        prepared = _prepared(data, seed)
        if not 0 < share <= 1:
            raise ValueError(f"`share` must be above 0 and at most 1, got {share!r}.")
        if space is None:
            rows, context = prepared.sizes[0], prepared.context_features
            values = prepared.under(DEFAULT).train
            first = portfolio(
                prepared.features,
                rows,
                values=values,
                context_features=context,
            )
            space = SearchSpace.for_data(values, context_features=context, recipes=first)
        shape = (prepared.features, prepared.context_features)
        if (space.features, space.context_features) != shape:
            raise ValueError(
                f"`space` is for {space.features} features and {space.context_features} context"
                f" features, the data has {shape[0]} and {shape[1]}."
            )
        self.data, self.space = prepared, space
        self.objectives = check_objectives(objectives)
        self.encoding, self.share, self.seed = encoding, share, seed
        self._rows = MappedRows(prepared, device)

    def __call__(self, trial: optuna.Trial) -> float | list[float]:
        """Train the flow that the trial suggests.

        Returns:
            Validation NLL in nats a row, or one value an objective; nan, with which Optuna fails
            the trial, if it is not finite or the flow does not invert (`nfopt:reason` says which).

        Raises:
            optuna.TrialPruned: If the study's pruner says so at a rung.
        """
        lease = Lease(trial.study, lease_seconds(trial.study))
        lease.hold(trial)
        with lease.beating():
            space = declared_space(trial, self.space, self.encoding)
            candidate = describe(trial, space, self.seed)
            return self._train(candidate, lease)

    def _train(self, candidate: Candidate, lease: Lease) -> float | list[float]:
        trial, several = candidate.trial, len(self.objectives) > 1

        def on_rung(rung: Rung) -> set[int]:
            report(trial.study, candidate, rung.fraction, rung.bests[0])
            return {0} if not several and rung.fraction < 1.0 and trial.should_prune() else set()

        reason = self._rows.fault(candidate.marginals)
        if reason:
            return self._failed(trial, reason)
        rows = self._rows.under(candidate.marginals)
        _, (result,) = train_stack(
            [candidate.spec],
            [candidate.train],
            [candidate.seed],
            rows,
            batches=seeds.derive(self.seed, seeds.BATCHES, candidate.number),
            steps=max(1, round(self.share * candidate.train.steps)),
            seconds=None,
            on_rung=on_rung,
            should_stop=lambda: lease.lost,
        )
        stored.write(trial, facts(candidate, result))
        if result.status == "pruned":
            raise optuna.TrialPruned(result.reason)
        reason = fault(result)
        if reason:
            return self._failed(trial, reason)
        values = values_of(candidate, result.nll, self.objectives)
        return values if several else values[0]

    def _failed(self, trial: optuna.Trial, reason: str) -> float | list[float]:
        trial.set_user_attr(names.REASON, reason)
        nothing = [float("nan")] * len(self.objectives)
        return nothing if len(nothing) > 1 else nothing[0]


def _prepared(data: Any, seed: int) -> Prepared:
    if isinstance(data, Source):
        return data.data
    return data if isinstance(data, Prepared) else read(data, seed=seed).data
