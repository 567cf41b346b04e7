"""What a study tries first: the recipes and the caller's own flows, as its space has them."""

from __future__ import annotations

from collections.abc import Sequence

from nfopt.space import SearchSpace
from nfopt.spec import Recipe


def first_of(space: SearchSpace, recipes: Sequence[Recipe]) -> list[Recipe]:
    """Take the recipes that a space holds, trained as it says; a limit holds for them too.

    Args:
        space: What is searched.
        recipes: The best first.

    Returns:
        At least one, each once, in their order; where the space holds none, its middle.
    """
    found: dict[tuple[object, ...], Recipe] = {}
    for recipe in recipes:
        try:
            params = space.params_of(recipe)  # takes a while where there are many columns
        except ValueError:
            continue
        found.setdefault(tuple(params.values()), space.build(params))
    if not found:
        middle = {name: domain.middle() for name, domain in space.parameters.items()}
        return [space.build(middle)]
    return list(found.values())


def holds(space: SearchSpace, recipe: Recipe) -> bool:
    """Whether a study of the space could ask for the flow."""
    try:
        space.params_of(recipe)
    except ValueError:
        return False
    return True


def check_initial(initial: Sequence[Recipe], space: SearchSpace) -> None:
    """Refuse flows that the study could not ask for.

    Raises:
        ValueError: If a flow is outside the space; one line.
    """
    for number, recipe in enumerate(initial, 1):
        try:
            space.params_of(recipe)
        except ValueError as error:
            raise ValueError(f"`initial` flow {number} can't be tried: {error}") from None


def first_key(recipe: Recipe) -> str:
    """Name a first trial, so that a later call, with others or in another order, knows it again."""
    return recipe.digest()[:16]
