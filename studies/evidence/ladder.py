"""Steps of the ladder that no command has: our engine by zuko's recipe, zuko's flow by ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from cells import ONE

import nfopt
from nfopt.compare import zuko_flows
from nfopt.compare.ours import of_flow
from nfopt.compare.rival import Clock, Curve, Fitted, Rival
from nfopt.compare.run import RIVALS
from nfopt.data import DEFAULT, Prepared
from nfopt.events import Event, Training
from nfopt.spec import Autoregressive, Conditioner, FlowSpec, Spline, TrainSpec

MAPS = DEFAULT
MUON_RATE, MUON_DECAY, AVERAGE = 8e-3, 0.01, 0.99
WITHOUT_END = 1 << 30  # steps: the time ends it
ADAMW = TrainSpec(weight_decay=0.01, steps=WITHOUT_END)  # torch's own decay, 2e-3, 512, cosine, 5
MUON = TrainSpec(
    optimiser="muon",
    schedule="trapezoid",
    learning_rate=MUON_RATE,
    weight_decay=MUON_DECAY,
    average=AVERAGE,
    steps=WITHOUT_END,
)


def zukos_flow(features: int) -> FlowSpec:
    """Write zuko's NSF of the recipe in our words: 4 layers of 2x128, 8 bins, orders in turn."""
    forth = tuple(range(features))
    layers = tuple(
        Autoregressive(
            order=forth[:: 1 if number % 2 == 0 else -1],
            map=Spline(8),
            conditioner=Conditioner(width=128, hidden_layers=2, activation="relu"),
        )
        for number in range(4)
    )
    return FlowSpec(features=features, layers=layers)


def engine(marginals: str, train: TrainSpec) -> Callable[..., Fitted]:
    """Train zuko's flow by our engine."""

    def fit(data: Prepared, clock: Clock, seed: int) -> Fitted:
        flow = zukos_flow(data.features)
        return _fit(data, clock, seed, flow=(flow, train), marginals=marginals)

    return fit


def one(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Run `nfopt fit --members 1`."""
    return _fit(data, clock, seed, members=1)


def _fit(data: Prepared, clock: Clock, seed: int, **how: Any) -> Fitted:
    """Fit; the curve is by processor seconds since this process started, all imports included."""
    curve: Curve = []

    def note(event: Event) -> None:
        if isinstance(event, Training) and event.nll is not None:
            curve.append((time.process_time(), event.nll))

    minutes = clock.seconds / 60
    found = nfopt.fit(data, minutes=minutes, seed=seed, threads=1, on_event=note, **how)
    return of_flow(found.flow, seed, found.parameters, found.structure, curve)


class Muon:
    """torch's Muon on the matrices between hidden layers and around them, AdamW on the rest."""

    def __init__(self, flow: torch.nn.Module, rate: float) -> None:
        matrices = [p for p in flow.parameters() if p.ndim == 2]
        others = [p for p in flow.parameters() if p.ndim != 2]
        self._both = [
            torch.optim.Muon(
                matrices, lr=rate, weight_decay=MUON_DECAY, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=2e-3),
        ]
        self.param_groups = [group for each in self._both for group in each.param_groups]

    def zero_grad(self) -> None:
        for each in self._both:
            each.zero_grad()

    def step(self) -> None:
        for each in self._both:
            each.step()


def zuko_under_ours(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Fit zuko's recipe with our marginal maps and torch's Muon."""
    settings = zuko_flows.Settings(rate=MUON_RATE, optimiser=Muon)
    return zuko_flows.recipe(data.under(MAPS), clock, seed, settings)


def rivals() -> dict[str, Rival]:
    """Give all that runs without the command line, by the name of its cells."""
    steps = {
        "engine": engine("standardise", ADAMW),
        "engine + maps": engine(MAPS, ADAMW),
        "engine + maps + muon": engine(MAPS, MUON),
        ONE: one,
        "zuko + maps + muon": zuko_under_ours,
    }
    ours = {name: Rival(name, "", fit, ours=True) for name, fit in steps.items()}
    return {rival.name: rival for rival in RIVALS if not rival.ours} | ours
