"""The layout of genomes: what the evolution searches.

It says which parts a genome has and what each may be, repairs any genome into its feasible,
canonical form, and draws genomes at random.

    >>> from nfopt.evolution.genome.variables import Real
    >>> layout = Layout((Integer(1, 8), Real(1e-4, 1e-2, log=True)), MaskBlock(8, 10, depth=0))
    >>> genome = layout.random(np.random.default_rng(0))
    >>> layout.repaired(genome) == genome, layout.feasible(genome)
    (True, True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nfopt.evolution.genome import repair
from nfopt.evolution.genome.blocks import EdgeBlock, MaskBlock, Usage
from nfopt.evolution.genome.genome import BLANK, Genome
from nfopt.evolution.genome.variables import (
    Category,
    Integer,
    Value,
    Values,
    Variable,
    replaced,
)


@dataclass(frozen=True)
class Layout:
    """What genomes of a search look like.

    Attributes:
        variables: The mixed variables.
        masks: Coupling masks, if there are any.
        edges: An adjacency, if there is one.
        layer_of: For each variable the layer, from 0, that it describes and moves with, -1 for
            none. Each layer must have the same variables in the same order. By default none.
        depth: Index of the Integer variable that is the number of layers; by default that of
            `masks`.
        usage: From values to the genes that are active; inactive genes are set to fixed values and
            so cannot tell two genomes apart. By default, all within the depth are active.
        parts: Layouts of further masks and adjacencies, of other features or apart from the others;
            without variables and parts.
    """

    variables: tuple[Variable, ...]
    masks: MaskBlock | None = None
    edges: EdgeBlock | None = None
    layer_of: tuple[int, ...] = ()
    depth: int | None = None
    usage: Callable[[Values], Usage] | None = None
    parts: tuple[Layout, ...] = ()

    def __post_init__(self) -> None:
        if self.masks is not None and self.depth is None and self.masks.depth is not None:
            object.__setattr__(self, "depth", self.masks.depth)
        for index in (self.depth, self.edges.limit if self.edges else None):
            if index is None:
                continue
            fits = 0 <= index < len(self.variables)
            if not fits or not isinstance(self.variables[index], Integer):
                raise ValueError(f"`variables` must have an Integer at {index} for `depth`.")
        if any(part.variables or part.parts for part in self.parts):
            raise ValueError("`parts` must be layouts without variables and parts.")
        if self.layer_of and len(self.layer_of) != len(self.variables):
            raise ValueError(
                f"`layer_of` must have one entry a variable: {len(self.layer_of)} of "
                f"{len(self.variables)}."
            )
        counts = {self.layer_of.count(layer) for layer in set(self.layer_of) - {-1}}
        if len(counts) > 1:
            raise ValueError(
                f"`layer_of` must name each layer equally often, not {min(counts)} times and "
                f"{max(counts)} times."
            )

    # --------------------------------------------------------------------------------- active genes

    def layers_in_use(self, values: Values) -> int:
        """The number of layers, by the depth variable or else the mask block."""
        most = self.masks.layers if self.masks is not None else None
        if self.depth is None:
            return most if most is not None else max(self.layer_of, default=-1) + 1
        depth = int(values[self.depth])
        return depth if most is None else min(depth, most)

    def used(self, values: Values) -> Usage:
        """The active genes of a genome with these values, with a flag for every row of masks."""
        if self.usage is None:
            depth = values[self.depth] if self.depth is not None else 0
            if (known := self._by_depth.get(depth)) is None:
                known = self._within(self.layers_in_use(values), Usage((), (), self._cover))
                self._by_depth[depth] = known
            return known
        usage = self.usage(values)
        if usage.variables and usage.layers:
            return usage
        return self._within(self.layers_in_use(values), usage)

    @cached_property
    def _by_depth(self) -> dict[Value, Usage]:
        return {}

    @property
    def _cover(self) -> bool:
        return self.masks is None or self.masks.cover

    def _within(self, depth: int, usage: Usage) -> Usage:
        """Fill in the empty fields of a usage: all within the depth is active."""
        layer_of = self.layer_of or (-1,) * len(self.variables)
        most = self.masks.layers if self.masks is not None else depth
        return Usage(
            usage.variables or tuple([layer < depth for layer in layer_of]),
            usage.layers or (True,) * depth + (False,) * (most - depth),
            usage.cover,
            usage.edges,
            usage.parts,
        )

    def parts_in_use(self, values: Values) -> tuple[bool, ...]:
        """Which further parts are active."""
        return (self.used(values).parts or (True,) * len(self.parts)) if self.parts else ()

    @cached_property
    def free(self) -> tuple[int, ...]:
        """Indices of the variables that have more than one value."""
        return tuple(i for i, variable in enumerate(self.variables) if not variable.single)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Those of `free` that are numbers."""
        return tuple(i for i in self.free if not isinstance(self.variables[i], Category))

    @cached_property
    def categories(self) -> tuple[int, ...]:
        """Those of `free` that are categories."""
        return tuple(i for i in self.free if isinstance(self.variables[i], Category))

    @cached_property
    def columns(self) -> tuple[tuple[int, ...], ...]:
        """For each variable that layers have, its indices, layer by layer."""
        layers = sorted(set(self.layer_of) - {-1})
        rows = [[i for i, of in enumerate(self.layer_of) if of == layer] for layer in layers]
        return tuple(zip(*rows, strict=True))

    def gene_rows(self, values: Values) -> tuple[int, ...]:
        """The rows of the masks with active genes; with pairs only first layers of pairs."""
        used = self.used(values).layers
        if used not in self._rows:
            if self.masks is None:
                self._rows[used] = ()
            elif self.masks.pairs:
                self._rows[used] = tuple(
                    [k for k in range(0, len(used), 2) if any(used[k : k + 2])]
                )
            else:
                self._rows[used] = tuple([k for k, flag in enumerate(used) if flag])
        return self._rows[used]

    @cached_property
    def _rows(self) -> dict[tuple[bool, ...], tuple[int, ...]]:
        return {}

    @cached_property
    def inactive_values(self) -> Values:
        """The value that each variable has while it is inactive."""
        return tuple(variable.inactive_value for variable in self.variables)

    # ----------------------------------------------------------------------- feasible and canonical

    def repaired(self, genome: Genome, like: Genome | None = None) -> Genome:
        """Make a genome feasible and canonical: deterministic, with few changes.

        Values are rounded to the nearest allowed ones; masks follow `nfopt.masks.repair` (each
        layer of genes alone, then all active ones, as a search space builds them); edges against
        the order, and the farthest ones beyond the budget, are removed. Inactive values become
        `inactive_values`, inactive masks all `C`, an inactive adjacency empty.

        Args:
            genome: Any genome with as many values as the layout has variables.
            like: A repaired genome; parts that both share, as the same object, are not checked.
        """
        values, masks, order, parents = genome.values, None, None, None
        if like is None or values is not like.values:
            parts = zip(
                self.variables, values, like.values if like else self.inactive_values, strict=True
            )
            values = tuple([x if x is same else v.nearest(x) for v, x, same in parts])
        usage = self.used(values)
        if not all(usage.variables):
            choices = zip(values, usage.variables, self.inactive_values, strict=True)
            values = tuple([value if active else fixed for value, active, fixed in choices])
        if self.masks is not None:
            same = like is not None and genome.masks is like.masks and genome.masks is not None
            if same and like is not None and usage == self.used(like.values):
                masks = genome.masks
            else:
                masks = repair.masks(genome.masks, self.masks, usage.layers, cover=usage.cover)
        if self.edges is not None:
            budget = self.budget(values)
            kept = (genome.order, genome.parents) if usage.edges else (None, None)
            order, parents = repair.edges(*kept, self.edges, budget)
        return Genome(values, masks, order, parents, self._repaired_parts(genome, values))

    def _repaired_parts(self, genome: Genome, values: Values) -> tuple[Genome, ...]:
        given = genome.parts or (BLANK,) * len(self.parts)
        flags = self.parts_in_use(values)
        return tuple(
            [
                layout.repaired(part) if active else BLANK
                for layout, part, active in zip(self.parts, given, flags, strict=True)
            ]
        )

    def feasible(self, genome: Genome) -> bool:
        """Whether `repaired` would leave the genome as it is."""
        return len(genome.values) == len(self.variables) and self.repaired(genome) == genome

    def budget(self, values: Values) -> int:
        """The greatest number of parents of a feature."""
        if self.edges is None:
            return 0
        most = self.edges.features - 1
        if self.edges.budget is not None:
            most = min(most, self.edges.budget)
        return most if self.edges.limit is None else min(most, int(values[self.edges.limit]))

    def with_values(
        self, genome: Genome, held: Mapping[int, Value], rng: np.random.Generator
    ) -> Genome:
        """Set some variables; layers that become active thereby are drawn at random.

        Args:
            genome: A repaired genome.
            held: Values by the index of the variable.
            rng: The source of randomness.
        """
        if all(genome.values[index] == value for index, value in held.items()):
            return genome
        child = replace(genome, values=replaced(genome.values, held))
        return self.grown(genome, child, rng, frozenset(held))

    def grown(
        self,
        parent: Genome,
        child: Genome,
        rng: np.random.Generator,
        held: frozenset[int] = frozenset(),
    ) -> Genome:
        """Repair a child; genes that are active in it, but not in its parent, are drawn first.

        Args:
            parent: A repaired genome.
            child: Made from it, not repaired.
            rng: The source of randomness.
            held: Indices of variables that are not drawn.
        """
        before, after = self.used(parent.values), self.used(child.values)
        if before == after:
            return self.repaired(child, parent)
        drawn = {
            index: self.variables[index].draw(rng)
            for index in self.free
            if after.variables[index]
            and not before.variables[index]
            and child.values[index] == self.inactive_values[index]
            and index not in held
        }
        child = replace(child, values=replaced(child.values, drawn))
        if self.masks is not None and child.masks is not None:
            rows = repair.filled(child.masks, self.masks, self.used(child.values).layers, rng)
            child = replace(child, masks=rows)
        if self.parts:
            child = replace(child, parts=self._drawn_parts(child, rng))
        return self.repaired(self.linked(parent, child, rng))

    def _drawn_parts(self, genome: Genome, rng: np.random.Generator) -> tuple[Genome, ...]:
        """Draw the parts that are active and blank."""
        given = genome.parts or (BLANK,) * len(self.parts)
        flags = self.parts_in_use(genome.values)
        return tuple(
            [
                layout.random(rng) if active and part == BLANK else part
                for layout, part, active in zip(self.parts, given, flags, strict=True)
            ]
        )

    def linked(self, parent: Genome, child: Genome, rng: np.random.Generator) -> Genome:
        """Draw a child's edges if they become active and it has none; does not repair it."""
        activated = self.used(child.values).edges and not self.used(parent.values).edges
        has_edges = child.parents is not None and child.parents.any()
        if self.edges is None or not activated or has_edges:
            return child
        order, parents = repair.drawn_edges(self.edges, self.budget(child.values), rng)
        return replace(child, order=order, parents=parents)

    # ------------------------------------------------------------------------- draws and distances

    def random(self, rng: np.random.Generator) -> Genome:
        """Draw values uniformly, masks of random letters, and a random graph.

        Every feature's number of parents is drawn with log-uniform density up to the budget.
        """
        values = tuple([variable.draw(rng) for variable in self.variables])
        masks = order = parents = None
        if self.masks is not None:
            masks = repair.drawn_masks(self.masks, rng)
        if self.edges is not None:
            order, parents = repair.drawn_edges(self.edges, self.budget(values), rng)
        parts = tuple([layout.random(rng) for layout in self.parts])
        return self.repaired(Genome(values, masks, order, parents, parts))

    def distance(self, a: Genome, b: Genome) -> float:
        """The distance of two repaired genomes.

        A variable adds up to 1 (the distance in the unit interval; categories 0 or 1), a layer of
        masks the share of letters that differ, a feature's parents the share that differ; a part
        that only one of the two has adds 1.
        """
        total = 0.0
        for variable, x, y in zip(self.variables, a.values, b.values, strict=True):
            if x != y:
                if isinstance(variable, Category):
                    total += 1.0
                else:
                    total += abs(variable.unit(x) - variable.unit(y))
        if a.masks is not None and b.masks is not None:
            total += float((a.masks != b.masks).sum()) / a.masks.shape[1]
        if a.parents is not None and b.parents is not None:
            total += float((a.parents != b.parents).sum()) / len(a.parents)
        for layout, one, other in zip(self.parts, a.parts, b.parts, strict=True):
            alone = (one == BLANK) != (other == BLANK)
            total += 1.0 if alone else layout.distance(one, other)
        return total
