"""First members of a search: what the caller knows, and the named designs of masks and edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nfopt.adjacency import from_parents, strongest_parents
from nfopt.designs import DESIGNS
from nfopt.evolution.genome.genome import Genome
from nfopt.masks import parse
from nfopt.samplers.codec import Codec
from nfopt.space import SearchSpace
from nfopt.space.guide import Guide
from nfopt.spec import FlowSpec, Recipe, TrainSpec
from nfopt.stored import trials_of

Initial = FlowSpec | tuple[FlowSpec, TrainSpec] | Recipe | FrozenTrial | Mapping[str, Any]
BEST = 10  # trials taken from a study that is given as a whole
RANDOM_PAIRS = 4  # designs that are random balanced complement pairs
BUDGETS = (1, 2, 4, 8, 16)  # of parents, in the designs of edges

Strength = NDArray[np.float64]


# --------------------------------------------------------------------------------- the caller's own


def read_initial(given: Study | Sequence[Initial]) -> tuple[Initial, ...]:
    """Take a list as it is, and of a study the best trials.

    Raises:
        ValueError: If an entry is none of what is known.
    """
    if isinstance(given, Study):
        return tuple(_best(given))
    for number, entry in enumerate(given, 1):
        pair = isinstance(entry, tuple) and [type(x) for x in entry] == [FlowSpec, TrainSpec]
        if not pair and not isinstance(entry, FlowSpec | Recipe | FrozenTrial | Mapping):
            raise ValueError(
                "`initial` must be a study, or a list of FlowSpecs, of pairs of a FlowSpec and a "
                "TrainSpec, of Recipes, of trials or of parameters; number "
                f"{number} is a {type(entry).__name__}."
            )
    return tuple(given)


def _best(study: Study) -> list[FrozenTrial]:
    """The best trials of a study by its first value, each set of parameters once."""
    done = trials_of(study, TrialState.COMPLETE)
    most = study.directions[0] is StudyDirection.MAXIMIZE
    done.sort(key=lambda trial: trial.values[0], reverse=most)
    distinct = {repr(sorted(trial.params.items())): trial for trial in reversed(done)}
    return list(reversed(distinct.values()))[:BEST]


def initial_genomes(
    initial: Sequence[Initial], codec: Codec, space: SearchSpace | None
) -> list[Genome]:
    """Find the genomes of what the caller gave.

    A trial of another study that the space does not have is left out: that other study may have
    searched more.

    Raises:
        ValueError: If a flow is outside the space, or there is no space to have it.
    """
    found: list[Genome] = []
    for number, entry in enumerate(initial, 1):
        if isinstance(entry, FlowSpec | tuple | Recipe):
            if space is None:
                raise ValueError(
                    "`initial` has FlowSpecs, so `space` must be given: a SearchSpace, or a study "
                    "that has one."
                )
            if isinstance(entry, Recipe):
                recipe = entry
            else:
                flow, train = entry if isinstance(entry, tuple) else (entry, space.train)
                recipe = Recipe(flow, train, str(space.limits["marginals"][0]))
            try:
                params = space.params_of(recipe)
            except ValueError as error:
                raise ValueError(f"`initial` flow {number} can't be tried: {error}") from None
        elif isinstance(entry, FrozenTrial):
            params = _params_of(entry, space)
        else:
            params = dict(entry)
        genome = codec.encode(params) if codec.names or codec.genes else None
        if genome is not None:
            found.append(genome)
    return found


def _params_of(trial: FrozenTrial, space: SearchSpace | None) -> dict[str, Any]:
    """A trial's flow as this space writes it; its own parameters where the space hasn't got it."""
    spec, train, maps = (
        trial.user_attrs.get(f"nfopt:{what}") for what in ("spec", "train", "marginals")
    )
    if space is None or spec is None:
        return trial.params
    try:
        training = space.train if train is None else TrainSpec.from_json(train)
        recipe = Recipe(FlowSpec.from_json(spec), training, str(maps or "standardise"))
        return dict(space.params_of(recipe))
    except ValueError:
        return trial.params


# ---------------------------------------------------------------------------------- named designs


def strength(space: SearchSpace | None) -> Strength | None:
    """What a space's guide says of the dependence of every two features, shape (D, D), or None.

    The guide keeps rankings only: 1 for the most dependent one, 1/2 for the second, and so on.
    """
    if space is None or space.guide is None or not space.guide.ranks:
        return None
    found = np.zeros((space.features, space.features))
    for feature, others in enumerate(next(iter(space.guide.ranks.values()))):
        found[feature, list(others)] = 1.0 / np.arange(1, len(others) + 1)
    return found


def first_designs(codec: Codec) -> tuple[str, ...]:
    """Names of the designs that a search begins with, where the caller gave nothing.

    Masks without a guide begin with random ones: their designs know nothing of the data, and are
    so much alike that no model learns from them which letters count (`studies/mask_table`).
    """
    return design_names(codec, masks=codec.guide is not None)


def design_names(codec: Codec, *, masks: bool = True) -> tuple[str, ...]:
    """Names of the designs that a space can try, in the order in which they are tried.

    Args:
        codec: Of the space.
        masks: Whether those of masks are wanted, too.
    """
    edges, guide = codec.layout.edges, codec.guide
    names: list[str] = []
    if masks and codec.layout.masks is not None:
        names += ["dependence"] if guide is not None else []
        names += ["parity", "binary_code", "halves"]
        names += [f"complement_pairs_{number}" for number in range(1, RANDOM_PAIRS + 1)]
    if edges is not None:
        names.append("all_parents")
        fewer = [n for n in BUDGETS if guide is not None and guide.ranks and n < edges.features - 1]
        names += [f"parents_{n}" for n in fewer]
        names += [f"ordered_parents_{n}" for n in fewer if edges.orders]
    return tuple(names)


def designed(codec: Codec, name: str, like: Genome, rng: np.random.Generator) -> Genome:
    """Give a genome the masks or edges of a design; all else stays.

    Args:
        codec: Of the space.
        name: Of `design_names`.
        like: What has the other values.
        rng: For the random designs.
    """
    layout, guide = codec.layout, codec.guide
    known, _, number = name.rpartition("_")
    if layout.edges is not None and name == "all_parents":
        return layout.repaired(replace(like, parents=~np.eye(layout.edges.features, dtype=bool)))
    if layout.edges is not None and known.endswith("parents") and guide is not None:
        order = None
        if layout.edges.orders:
            order = np.arange(layout.edges.features)
            if known == "ordered_parents":
                order = np.array(guide.order, dtype=np.intp)
        parents = _strongest(guide, int(number), order)
        return layout.repaired(replace(like, order=order, parents=parents))
    if layout.masks is None:
        raise ValueError(f"`name` must be of `design_names`, got {name!r}.")
    count, features = layout.masks.layers, layout.masks.features
    if name == "dependence" and guide is not None:
        rows = parse([guide.cuts[layer % len(guide.cuts)] for layer in range(count)])
        return layout.repaired(replace(like, masks=rows))
    make = DESIGNS[known if number.isdigit() else name]
    rows = make(count, features, rng, np.zeros((0, 0)))
    return layout.repaired(replace(like, masks=rows))


def all_designed(codec: Codec, names: Sequence[str]) -> list[Genome]:
    """The designs with all else at rest, in the middle of its range: to begin with."""
    layout = codec.layout
    rng = np.random.default_rng(0)  # the same random pairs in every study: they are designs, too
    parts = tuple([part.random(rng) for part in layout.parts])
    rest = layout.repaired(Genome(layout.inactive_values, parts=parts))
    found = [designed(codec, name, rest, rng) for name in names]
    return list({genome.key: genome for genome in found}.values())


def _strongest(guide: Guide, budget: int, order: NDArray[np.intp] | None) -> NDArray[np.bool_]:
    """The most dependent features of each, or with an order the most dependent predecessors."""
    ranks = next(iter(guide.ranks.values()))
    if order is not None:
        return from_parents(strongest_parents([int(i) for i in order], ranks, budget))
    parents = np.zeros((len(ranks), len(ranks)), dtype=bool)
    for feature, others in enumerate(ranks):
        parents[feature, list(others[:budget])] = True
    return parents
