"""`suggest_mask`, `suggest_parents` and `suggest_flow`."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING

from nfopt.adjacency import Parents, parents_of
from nfopt.masks import letters
from nfopt.samplers.declared import MOST_FEATURES, Genes, MaskGenes, ParentsGenes
from nfopt.suggest.encoding import declared, declared_space

if TYPE_CHECKING:
    import optuna

    from nfopt.evolution.genome.genome import Genome
    from nfopt.space import SearchSpace
    from nfopt.spec import Recipe

    Trial = optuna.trial.BaseTrial


def suggest_mask(
    trial: Trial, name: str, features: int, *, idle: bool = False, encoding: str | None = None
) -> str:
    """Suggest a coupling mask, one letter a feature: `T` transformed, `C` conditions, `I` idle.

        masks = [nfopt.suggest_mask(trial, f"layer_{i}", D) for i in range(1, 5)]
        kept = [letter == "C" for letter in masks[0]]

    At least one feature is transformed, and one conditions. In the study's attributes it is written
    what the parameters mean, so that `nfopt.EvolutionSampler` changes them as masks, in this
    process and in others; masks of the same features are searched together, as layers of one flow.
    Other samplers get one parameter a bit, up to 64 bits a study, beyond that a warning.

    Args:
        trial: Of any study with any sampler; a FixedTrial and a FrozenTrial, too.
        name: Of the mask; its parameters begin with it. The same mask must have the same arguments
            in all trials. A mask that a trial does not use is best not suggested.
        features: D, from 2 to 1,024.
        idle: Whether a feature may be `I`: neither transformed nor read.
        encoding: "packed", "bits" (one parameter a bit); None: by the study's sampler.

    Raises:
        ValueError: If an argument does not fit, or was another one in this study.
    """
    features = _checked(name, features, 2)
    genome, genes = _asked(trial, f"{name}.mask", MaskGenes(features, bool(idle)), encoding)
    masks = genes.layout.repaired(genome).masks
    return "" if masks is None else letters(masks)[0]


def suggest_parents(
    trial: Trial,
    name: str,
    features: int,
    *,
    most: int | None = None,
    order: Sequence[int] | None = None,
    encoding: str | None = None,
) -> Parents:
    """Suggest which features each feature depends on, without circles: the parents of each.

        parents = nfopt.suggest_parents(trial, "graph", D, most=3)  # ((), (0,), (0, 1), ...)
        layer = nfopt.spec.Autoregressive(parents=parents)

    As `suggest_mask`; the order is searched too, unless it is given.

    Args:
        trial: Of any study with any sampler; a FixedTrial and a FrozenTrial, too.
        name: Of the adjacency; its parameters begin with it.
        features: D, from 1 to 1,024.
        most: The greatest number of parents of a feature; None: no limit. Of more, those nearest
            before it in the order are kept.
        order: Each feature once, after all that it may depend on; None: searched.
        encoding: "packed", "bits" (one parameter a bit); None: by the study's sampler.

    Returns:
        For each feature the features that it depends on, ascending.

    Raises:
        ValueError: If an argument does not fit, or was another one in this study.
    """
    features = _checked(name, features, 1)
    if most is not None and (not isinstance(most, int) or most < 0):
        raise ValueError(f"`most` must be a whole number, 0 or more, or None, got {most!r}.")
    if order is not None and sorted(order) != list(range(features)):
        raise ValueError(
            f"`order` must name each feature from 0 to {features - 1} once, got {tuple(order)}."
        )
    given = None if order is None else tuple(int(feature) for feature in order)
    wanted = ParentsGenes(features, most, given)
    genome, _ = _asked(trial, f"{name}.edges", wanted, encoding)
    return () if genome.parents is None else parents_of(genome.parents)


def suggest_flow(trial: Trial, space: SearchSpace, *, encoding: str | None = None) -> Recipe:
    """Suggest a whole flow and its training from a search space, one in a study.

        recipe = nfopt.suggest_flow(trial, space)
        recipe.flow, recipe.train, recipe.marginals

    As `space.suggest`, and in the study's attributes it is written what the parameters mean, as
    with `suggest_mask`.

    Args:
        trial: Of any study with any sampler; a FixedTrial and a FrozenTrial, too.
        space: The same in all trials.
        encoding: "packed", "bits" (one parameter a bit); None: by the study's sampler.

    Raises:
        ValueError: If the study's earlier trials had another space.
    """
    return declared_space(trial, space, encoding).suggest(trial)


def _checked(name: str, features: int, least: int) -> int:
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise ValueError(f"`name` must be a string of 1 to 200 characters, got {name!r:.60}.")
    try:
        number = index(features)
    except TypeError:
        number = -1
    if not least <= number <= MOST_FEATURES:
        raise ValueError(
            f"`features` must be a whole number from {least} to {MOST_FEATURES}, got {features!r}."
        )
    return number


def _asked(trial: Trial, key: str, wanted: Genes, encoding: str | None) -> tuple[Genome, Genes]:
    """Ask a trial for the parameters of masks or parents, declared before."""
    genes = declared(trial, key, wanted, encoding)
    values = {n: domain.suggest(trial, n) for n, domain in genes.domains(key).items()}
    genome = genes.read(key, values)
    return (genes.filler() if genome is None else genome), genes
