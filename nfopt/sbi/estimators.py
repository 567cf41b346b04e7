"""A trained flow as a posterior of sbi, and a structure as an estimator that sbi trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nfopt.errors import NfoptError
from nfopt.export import export_zuko
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.model.arguments import check_seed
from nfopt.recipes import recipe
from nfopt.sbi.simulations import read
from nfopt.spec import Recipe
from nfopt.study.arguments import Flows, chosen

Builder = Callable[[Tensor, Tensor], Any]  # sbi is optional, and without types


def to_posterior(flow: Flow, prior: Any) -> Any:
    """Make a conditional flow of theta given x a posterior of sbi.

    Args:
        flow: From `nfopt.fit`, `search` or `load`: its features are the parameters, its context is
            the simulation.
        prior: As sbi takes one: a distribution of torch's, or a list of them.

    Returns:
        A `DirectPosterior`, or of a mixture an `EnsemblePosterior` with the members' shares. They
        take and give float32, and compute in float64.

    Raises:
        ExportError: If a layer has no counterpart in zuko.
        NfoptError: If sbi is not installed.
        ValueError: If the flow has no context, or the prior other parameters.
    """
    if not flow.context_columns:
        raise ValueError("`flow` must be conditional: it has no context columns for x.")
    prior = check_prior(prior, len(flow.columns))
    from sbi.inference import DirectPosterior, EnsemblePosterior

    from nfopt.sbi.double import Double

    members = [
        DirectPosterior(_estimator(Double(export_zuko(flow, member=member)), flow), prior)
        for member in range(len(flow))
    ]
    if len(members) == 1:
        return members[0]
    return EnsemblePosterior(members, None if flow.shares is None else list(flow.shares))


def builder(
    flow: Flow | Flows | None = None, *, likelihood: bool = False, seed: int = 0
) -> Builder:
    """Make what sbi's trainers take as `density_estimator`: they train the flow that it builds.

    `NPE(prior, density_estimator=builder())`, `NLE(prior, density_estimator=builder(
    likelihood=True))`. Weights are fresh; marginal maps are fitted to the simulations.

    Args:
        flow: Its structure: one that was searched (the first member's), or what `nfopt.fit` takes
            as `flow`. None: the best known for so many parameters and simulations. How a recipe is
            trained is up to sbi.
        likelihood: The density is of x given theta, as NLE needs, and not of theta given x.
        seed: Of the weights.

    Returns:
        A callable of theta, shape (n, D), and x, shape (n, C), that gives a
        `ConditionalDensityEstimator` in float32. It raises ValueError or DataError where these do
        not fit, and ExportError where zuko has no counterpart of a layer.

    Raises:
        NfoptError: If sbi is not installed.
        ValueError: If the seed is none.
    """
    check_seed(seed)
    check_installed()

    def estimator(theta: Tensor, x: Tensor) -> Any:
        data = read(theta, x, likelihood=likelihood).table(seed)
        best = recipe(data.features, data.sizes[0], context_features=data.context_features)
        wanted = _structure(flow, best) if isinstance(flow, Flow) else flow
        found = chosen(wanted, None, best, data)
        fresh = build([found.flow], torch.Generator().manual_seed(seed))[0]
        untrained = Flow.of(fresh, data.under(found.marginals).preprocessing)
        return _estimator(export_zuko(untrained, dtype=torch.float32), untrained)

    return estimator


def check_prior(prior: Any, parameters: int) -> Any:
    """Read a prior as sbi does, and compare it with the number of parameters.

    Raises:
        NfoptError: If sbi is not installed.
        ValueError: If it is over another number of parameters, or is no distribution.
    """
    check_installed()
    from sbi.utils.user_input_checks import process_prior

    if prior is None or isinstance(prior, str):
        raise ValueError(f"`prior` must be a distribution of theta, got {prior!r}.")
    try:
        found, count, _ = process_prior(prior)
    except (AssertionError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"`prior` must be a distribution that sbi takes: {reason}") from None
    if count != parameters:
        raise ValueError(f"`prior` must be over {parameters} parameters as theta, got {count}.")
    return found


def check_installed() -> None:
    """Raise NfoptError unless sbi can be imported."""
    try:
        import sbi.inference  # noqa: F401
    except ImportError as error:
        reason = "" if error.name == "sbi" else f" ({error.name} is missing)"
        raise NfoptError(f"sbi is not installed{reason}: pip install 'nfopt[sbi]'") from None


def _estimator(net: Any, flow: Flow) -> Any:
    from sbi.neural_nets.estimators.zuko_flow import ZukoFlow

    return ZukoFlow(
        net=net,
        embedding_net=torch.nn.Identity(),
        input_shape=torch.Size([len(flow.columns)]),
        condition_shape=torch.Size([len(flow.context_columns)]),
    )


def _structure(flow: Flow, best: Recipe) -> Recipe:
    """Give the structure and the kinds of marginal maps of a trained flow's first member."""
    before = flow.preprocessings[0]
    kinds = [
        type(column.map).__struct_config__.tag for column in (*before.columns, *before.context)
    ]
    return Recipe(flow.specs[0], best.train, ",".join(map(str, kinds)))
