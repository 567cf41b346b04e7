"""Mutation of the mixed variables: small steps, another category, a jump.

Steps are Gaussian in the unit interval of a variable, which is logarithmic where the variable is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category, Value, Variable, replaced
from nfopt.evolution.operators.context import Context, open_variables, pick, power_law

SPREAD = 0.2
"""Standard deviation of a small step, as a share of the range, times `Context.scale`."""


def step(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Move one number a little; a whole number by at least 1."""
    numbers = open_variables(layout, genome, ctx, layout.numbers)
    if not numbers:
        return None
    index = numbers[pick(len(numbers), rng)]
    return _changed(layout, genome, ctx, {index: _near(layout, genome, index, rng, ctx)}, rng)


def steps(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Change two or more variables a little: numbers by a small step, categories at random."""
    free = open_variables(layout, genome, ctx, layout.free)
    if len(free) < 2:
        return None
    count = min(1 + power_law(len(free) - 1, rng), len(free))
    chosen = [free[i] for i in rng.permutation(len(free))[:count]]
    return _changed(
        layout, genome, ctx, {i: _near(layout, genome, i, rng, ctx) for i in chosen}, rng
    )


def category(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Choose another category for one variable."""
    categories = open_variables(layout, genome, ctx, layout.categories)
    if not categories:
        return None
    index = categories[pick(len(categories), rng)]
    return _changed(layout, genome, ctx, {index: _near(layout, genome, index, rng, ctx)}, rng)


def jump(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Draw one number anew, uniform in its range."""
    numbers = open_variables(layout, genome, ctx, layout.numbers)
    if not numbers:
        return None
    index = numbers[pick(len(numbers), rng)]
    return _changed(layout, genome, ctx, {index: layout.variables[index].draw(rng)}, rng)


def redraws(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Draw each variable anew with probability 1 / n: the plain EA's mutation."""
    free = open_variables(layout, genome, ctx, layout.free)
    chosen = [index for index in free if rng.random() * len(free) < 1]
    if not chosen:
        return None
    return _changed(layout, genome, ctx, {i: layout.variables[i].draw(rng) for i in chosen}, rng)


def _near(
    layout: Layout, genome: Genome, index: int, rng: np.random.Generator, ctx: Context
) -> Value:
    """A value near the present one; the same only by chance, on a grid of reals."""
    variable, value = layout.variables[index], genome.values[index]
    if isinstance(variable, Category):
        return (int(value) + 1 + pick(variable.size - 1, rng)) % variable.size
    return moved(variable, value, SPREAD * ctx.scale * rng.standard_normal())


def moved(variable: Variable, value: Value, change: float) -> Value:
    """Move a number in its unit interval, by at least one step of its grid if it has one.

    A step beyond the ends of the range is reflected.
    """
    if isinstance(variable, Category):
        return value
    start = variable.unit(value)
    end = start + change
    if not 0.0 <= end <= 1.0:
        end = start - change
    moved_value = variable.at(end)
    if moved_value != value or variable.step is None:
        return moved_value
    grid = variable.step if end >= start else -variable.step
    moved_value = variable.nearest(value + grid)
    return moved_value if moved_value != value else variable.nearest(value - grid)


def _changed(
    layout: Layout,
    genome: Genome,
    ctx: Context,
    changes: dict[int, Value],
    rng: np.random.Generator,
) -> Genome:
    child = replace(genome, values=replaced(genome.values, changes))
    return layout.grown(genome, child, rng, ctx.held)
