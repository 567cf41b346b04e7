"""What the studies of speed share: four cases, and the step of a population of nfopt flows.

A step is on the device of the rows that it is given. No peer is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from peers import LEARNING_RATE, Case
from torch import Tensor

from nfopt import designs, masks
from nfopt.flows import Stack, build
from nfopt.spec import Affine, Conditioner, Coupling, FlowSpec, Spline, TrainSpec
from nfopt.training import TrainData
from nfopt.training.population import Population
from nfopt.training.schedule import Plan

CASES = [Case("affine", 8), Case("affine", 43), Case("spline", 8), Case("spline", 43)]
BATCH = 256
ROWS = 16384


def noise(case: Case, device: str = "cpu") -> Tensor:
    """Rows of noise: what is in them does not matter here."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((ROWS, case.features), generator=generator).to(device)


def drawer(rows: Tensor, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    """Random minibatches of a table."""
    device = rows.device
    generator = torch.Generator(device).manual_seed(0)
    return lambda: rows[torch.randint(len(rows), shape, generator=generator, device=device)]


def our_stack(
    case: Case, letters: Sequence[Sequence[str]], device: torch.device | str = "cpu"
) -> Stack:
    """A stack with one list of masks a member."""
    scalar = Affine() if case.map == "affine" else Spline(bins=case.bins)
    net = Conditioner(width=case.width, hidden_layers=case.hidden_layers)
    specs = [
        FlowSpec(
            features=case.features,
            layers=tuple(Coupling(mask=mask, map=scalar, conditioner=net) for mask in member),
        )
        for member in letters
    ]
    (stack,) = build(specs, torch.Generator().manual_seed(0), device=device)
    return stack


def train_specs(members: int) -> list[TrainSpec]:
    """Adam, cosine and clip; each member has a learning rate of its own."""
    return [
        TrainSpec(
            optimiser="adam", learning_rate=LEARNING_RATE * (1 + i / members), batch_size=BATCH
        )
        for i in range(members)
    ]


def our_step(case: Case, letters: Sequence[Sequence[str]], rows: Tensor) -> Callable[[], None]:
    """The step of nfopt.training itself: one minibatch for all members."""
    members = len(letters)
    stack = our_stack(case, letters, rows.device)
    population = Population.start(
        stack, range(members), train_specs(members), len(rows), (0, 1), Plan(1)
    )
    data = TrainData(x=rows, val=rows[:1])
    return lambda: population.advance(0.5, data)


def balanced(case: Case, members: int, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Masks that differ between the members, each layer pair a random half and its complement."""
    return [
        masks.letters(designs.complement_pairs(case.layers, case.features, rng))
        for _ in range(members)
    ]
