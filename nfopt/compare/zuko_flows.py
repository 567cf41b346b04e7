"""Rivals that are zuko's flows: a recipe as a careful user writes it, sbi's settings, TPE over all.

None of it is nfopt's: flows, optimiser and schedule are those of zuko and torch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import torch
from torch import Tensor

from nfopt.compare.rival import Array, Clock, Curve, Fitted
from nfopt.data import Part, Prepared
from nfopt.study.results import mixture

CHECKS = 40  # validation checks of a training
CHUNK = 4096  # rows scored at a time


@dataclass(frozen=True)
class Settings:
    """How a zuko flow is trained.

    Attributes:
        batch: Rows a step.
        rate: Of AdamW (of Adam where there is no schedule).
        clip: Greatest gradient norm.
        cosine: The rate falls to zero over the time; else it stays, and `patience` ends it.
        patience: Passes without a better validation NLL; 0: the time ends it.
        optimiser: Makes another optimiser from the weights, or None.
    """

    batch: int = 512
    rate: float = 2e-3
    clip: float = 5.0
    cosine: bool = True
    patience: int = 0
    optimiser: Callable[[torch.nn.Module, float], Any] | None = None


@dataclass
class Trained:
    """A trained zuko flow and its validation NLL by the second, on the scale of the rows."""

    flow: Any
    nll: float
    curve: Curve


@contextlib.contextmanager
def drawn(seed: int) -> Iterator[None]:
    """Have torch's global generator, which zuko draws its weights from, give the same again."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        yield


def train(
    make: Callable[[], Any],
    data: Prepared,
    clock: Clock,
    seconds: float,
    seed: int,
    settings: Settings,
) -> Trained:
    """Train a flow for some seconds and keep the weights that validate best.

    Args:
        make: Builds the flow.
        data: The rows, as they are mapped.
        clock: Of the whole call, for the curve.
        seconds: Of this training.
        seed: Of weights and batches.
        settings: How.
    """
    generator = torch.Generator().manual_seed(seed)
    with drawn(seed):
        flow = make()
    kind = torch.optim.AdamW if settings.cosine else torch.optim.Adam
    make_optimiser = settings.optimiser or (lambda f, rate: kind(f.parameters(), lr=rate))
    optimiser = make_optimiser(flow, settings.rate)
    groups = getattr(optimiser, "param_groups", [])
    rates = [group["lr"] for group in groups]
    x, val = torch.from_numpy(data.train), torch.from_numpy(data.val)
    context = None if data.context is None else [torch.from_numpy(c) for c in data.context[:2]]
    batch = min(settings.batch, len(x))
    own = clock.part(max(seconds, 1e-3))
    best, waited = math.inf, 0
    kept = {name: value.clone() for name, value in flow.state_dict().items()}
    curve: Curve = []
    order, at = torch.randperm(len(x), generator=generator), 0
    over = False
    while not over:
        new_pass = at + batch > len(x)
        if new_pass:
            order, at = torch.randperm(len(x), generator=generator), 0
        if settings.cosine:
            factor = 0.5 * (1 + math.cos(math.pi * own.share()))
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * factor
        rows = order[at : at + batch]
        given = None if context is None else context[0][rows]
        loss = -flow(given).log_prob(x[rows]).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), settings.clip)
        optimiser.step()
        at += batch
        share = own.share()
        over = share >= 1.0
        if over or (new_pass if settings.patience else share * CHECKS >= len(curve) + 1):
            nll = -float(score(flow, val, None if context is None else context[1]).mean())
            curve.append((clock.gone(), nll))
            waited += 1
            if nll < best:
                best, waited = nll, 0
                kept = {name: value.clone() for name, value in flow.state_dict().items()}
            over = over or 0 < settings.patience <= waited
    flow.load_state_dict(kept)
    return Trained(flow, best, curve)


@torch.no_grad()
def score(flow: Any, rows: Tensor, context: Tensor | None) -> Tensor:
    """Log-density of rows, some at a time."""
    scores = [
        flow(None if context is None else context[k : k + CHUNK]).log_prob(rows[k : k + CHUNK])
        for k in range(0, len(rows), CHUNK)
    ]
    return torch.cat(scores)


def fitted(trained: list[Trained], data: Prepared, what: str) -> Fitted:
    """Mix trained flows with equal weights and score them on the data's own scale."""

    def log_prob(part: Part) -> Array:
        x = torch.from_numpy(part.z)
        context = None if part.context is None else torch.from_numpy(part.context)
        scores = torch.stack([score(one.flow, x, context).double() for one in trained])
        mixed: Array = mixture(scores).numpy() + part.logdet
        return mixed

    def sample(count: int) -> object:
        with torch.no_grad(), drawn(0):
            parts = [one.flow().sample((count // len(trained) + 1,)) for one in trained]
        z = torch.cat(parts)[:count].double().numpy()
        return data.preprocessing.inverse(z)

    shift = -float(np.mean(data.part("val").logdet))
    return Fitted(
        log_prob,
        None if data.context_features else sample,
        sum(p.numel() for one in trained for p in one.flow.parameters()),
        what,
        [(seconds, nll + shift) for one in trained[:1] for seconds, nll in one.curve],
    )


def recipe(data: Prepared, clock: Clock, seed: int, settings: Settings | None = None) -> Fitted:
    """Fit zuko's autoregressive splines, 4 x 2x128, AdamW under a cosine over the time given.

    Args:
        data: Split and preprocessed.
        clock: Of the call.
        seed: Of weights and batches.
        settings: Others than the recipe's.
    """
    import zuko

    def make() -> Any:
        return zuko.flows.NSF(
            data.features, data.context_features, bins=8, transforms=4, hidden_features=(128, 128)
        )

    trained = train(make, data, clock, clock.left(), seed, settings or Settings())
    return fitted([trained], data, "NSF, 4 transforms of 2x128")


def sbi_settings(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Fit splines with the settings that sbi trains its default `nsf` with, in zuko's flow.

    5 transforms of 2x50, 10 bins, batches of 200, Adam at 5e-4, 20 passes of patience.
    """
    import zuko

    def make() -> Any:
        return zuko.flows.NSF(
            data.features,
            data.context_features,
            bins=10,
            transforms=5,
            passes=min(2, data.features),
            hidden_features=(50, 50),
        )

    settings = Settings(batch=200, rate=5e-4, cosine=False, patience=20)
    trained = train(make, data, clock, clock.left(), seed, settings)
    return fitted([trained], data, "coupling splines, 5 transforms of 2x50")


TRIALS = 12  # that the time of TPE is cut into
KEPT = 5  # of its best trials are mixed
FAILURES = (ValueError, RuntimeError, AssertionError)  # of a trial, which ends that trial only


def tpe(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Search zuko's families with Optuna's TPE; the best five trials are mixed.

    Families: MAF, NSF (autoregressive and coupling), NAF, SOSPF; depth, width, bins, rate, batch.
    """
    best: list[Trained] = []
    curve: Curve = []

    def objective(trial: optuna.Trial) -> float:
        make = _family(trial, data)
        rate = trial.suggest_float("rate", 3e-4, 1e-2, log=True)
        settings = Settings(batch=trial.suggest_categorical("batch", [128, 256, 512]), rate=rate)
        length = min(clock.left(), clock.seconds / TRIALS)
        trained = train(make, data, clock, length, seed, settings)
        if not math.isfinite(trained.nll):
            raise optuna.TrialPruned
        best.append(trained)
        best.sort(key=lambda one: one.nll)
        del best[KEPT:]
        curve.append((clock.gone(), best[0].nll))
        return trained.nll

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    while clock.share() < 1 - 0.5 / TRIALS or not best:
        study.optimize(objective, n_trials=1, catch=FAILURES)
        if len(study.trials) >= 10 * TRIALS and not best:
            raise ValueError("no flow of zuko's has a finite validation NLL on this table")
    best[0].curve = curve
    return fitted(best, data, f"best {len(best)} of {len(study.trials)} trials")


def _family(trial: optuna.Trial, data: Prepared) -> Callable[[], Any]:
    import zuko

    family = trial.suggest_categorical("family", ["maf", "nsf", "nsf_coupling", "naf", "sospf"])
    depth = trial.suggest_int("transforms", 2, 6)
    width = trial.suggest_categorical("width", [32, 64, 128])
    shared: dict[str, Any] = {"transforms": depth, "hidden_features": (width, width)}
    sizes = (data.features, data.context_features)
    if family.startswith("nsf"):
        shared["bins"] = trial.suggest_int("bins", 4, 16)
        if family == "nsf_coupling" and data.features > 1:
            shared["passes"] = 2
        return lambda: zuko.flows.NSF(*sizes, **shared)
    kinds = {"maf": zuko.flows.MAF, "naf": zuko.flows.NAF, "sospf": zuko.flows.SOSPF}
    if family == "naf":
        shared["transforms"] = min(depth, 3)
    return lambda: kinds[family](*sizes, **shared)
