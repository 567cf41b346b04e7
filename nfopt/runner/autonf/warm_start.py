"""First trials from a differentiable search: `nfopt search --warm-start autonf`.

A short search over the types of layers proposes flows; those that the study's space has become
first trials, behind the recipe, and the study's sampler refines their masks, widths and training.
They are not raced here: the study's own trials compare them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from nfopt.autonf import Option, Settings, options_of, search, spec_of
from nfopt.errors import NfoptError
from nfopt.events import Notice, OnEvent, ignore
from nfopt.layers import Autoregressive, Coupling, Spline
from nfopt.space import SearchSpace
from nfopt.spec import FlowSpec, Recipe
from nfopt.study.first_trials import holds
from nfopt.training import TrainData

WARM_STARTS = ("autonf",)
FLOWS = 4  # that become first trials
SHARE = 0.15  # of the seconds that a search has
STEPS = 4  # the search has this part of a training's steps
PLACES = 6  # layers at most
TYPES = "types,identity"


def check_warm_start(warm_start: str | None) -> None:
    """Raise ValueError unless it is one that is known, or None."""
    if warm_start is not None and warm_start not in WARM_STARTS:
        raise ValueError(
            f"`warm_start` must be one of {', '.join(WARM_STARTS)}, got {warm_start!r}."
        )


def warm_flows(
    data: TrainData,
    space: SearchSpace,
    recipe: Recipe,
    *,
    seed: int,
    count: int = FLOWS,
    seconds: float | None = None,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Recipe]:
    """Search the types of layers for a moment and return what a study should try first.

    Args:
        data: Training rows; validation rows are not looked at.
        space: Of the study; what it does not have is left out.
        recipe: Whose widths, bins and training the flows have.
        seed: Of the study.
        count: Flows at most.
        seconds: Wall clock at most, or None: a quarter of a training's steps.
        on_event: Told what was found.
        should_stop: Asked while it works.
        clock: Seconds.

    Returns:
        Flows of the space with the recipe's training, the most likely first; maybe none.
    """
    spec, train = recipe.flow, recipe.train
    nets = [x for x in spec.layers if isinstance(x, Autoregressive | Coupling)]
    if spec.features < 2 or not nets:
        on_event(Notice("`warm_start` has nothing to search here: no conditioners, or one feature"))
        return []
    net = nets[0].conditioner
    bins = next((x.map.bins for x in nets if isinstance(x.map, Spline)), 8)
    options = options_of(
        TYPES,
        spec.features,
        width=net.width,
        hidden_layers=net.hidden_layers,
        bins=bins,
        activation=net.activation,
        mixing="lu",  # what every space has
    )
    places = min(PLACES, space.plan.depth)
    options = _fitting(options, space, recipe, places)
    if len(options) < 2:
        on_event(Notice("`warm_start` found no flow that `space` has"))
        return []
    settings = Settings(
        places=places,
        block=min(3, places),
        estimator="sampled",
        steps=max(1, train.steps // STEPS),
        batch_size=train.batch_size,
        candidates=4 * count,
    )
    try:
        found = search(
            options,
            data,
            settings,
            seed=seed,
            seconds=seconds,
            should_stop=should_stop,
            clock=clock,
        )
    except NfoptError as error:  # a study can do without
        on_event(Notice(f"`warm_start` found nothing: {error}"))
        return []
    flows = [
        spec_of(options, path, spec.features, spec.context_features) for path in found.candidates
    ]
    inside = [flow for flow in flows if flow.layers and holds(space, _like(recipe, flow))][:count]
    said = f"adds {len(inside)} first trials" if inside else "found no flow that `space` has"
    on_event(Notice(f"`warm_start` {said}"))
    return [_like(recipe, flow) for flow in inside]


def _like(recipe: Recipe, flow: FlowSpec) -> Recipe:
    return msgspec.structs.replace(recipe, flow=flow)


def _fitting(
    options: tuple[Option, ...], space: SearchSpace, recipe: Recipe, places: int
) -> tuple[Option, ...]:
    """Keep the options of which the space has a flow, so that the search is not for what it lacks.

    Doing nothing is kept with them; it searches the depth.
    """
    spec = recipe.flow

    def fits(place: int) -> bool:
        flows = (
            spec_of(options, (place,) * depth, spec.features, spec.context_features)
            for depth in range(1, places + 1)
        )
        return any(holds(space, _like(recipe, flow)) for flow in flows)

    return tuple(option for k, option in enumerate(options) if option.idle or fits(k))
