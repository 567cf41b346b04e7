"""Exact or sampled: which estimator a search can use, and by a measurement, which it should."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nfopt.autonf.costs import clock_of
from nfopt.autonf.objective import MOST_PATHS, enumerate_paths
from nfopt.autonf.options import NOTHING, Option, check_options
from nfopt.autonf.rows import Minibatch
from nfopt.autonf.settings import Settings
from nfopt.autonf.supernet import Supernet

EXACT_STEPS = 8.0  # single steps that an exact one may cost, to be the default
REPEATS = 3  # of a measured step


def check_searched(
    options: Sequence[Option], features: int, settings: Settings
) -> tuple[Option, ...]:
    """Refuse options that leave nothing to search, or more paths than memory holds.

    Raises:
        ValueError: In one line.
    """
    options = check_options(options, features)
    if len(options) == 1:
        raise ValueError(
            f"`options` has one option, {options[0].name!r}: a search over it is trivial. Add"
            " another, or 'identity' to search the depth."
        )
    block = len(settings.blocks[0])
    paths = len(options) ** block
    needed = settings.estimator == "exact" or settings.objective == "mixture"
    if needed and paths > MOST_PATHS:
        most = max((b for b in range(1, block) if len(options) ** b <= MOST_PATHS), default=0)
        other = "" if settings.objective == "mixture" else "give estimator 'sampled', or "
        raise ValueError(
            f"`estimator` 'exact' would hold {len(options)}^{block} = {paths} paths at once, at"
            f" most {MOST_PATHS}: {other}a `block` of at most {most}."
        )
    return options


def is_exact(
    net: Supernet,
    settings: Settings,
    batch: Minibatch,
    clock: Callable[[], float] | None = None,
) -> bool:
    """Say whether a search evaluates all paths of a block, or draws some.

    Args:
        net: Shared weights; unchanged.
        settings: Checked; "auto" is settled by measuring a step of the first block.
        batch: Rows to measure on.
        clock: Seconds; None: see `clock_of`.
    """
    if settings.objective == "mixture" or settings.estimator == "exact":
        return True
    block = settings.blocks[0]
    if settings.estimator == "sampled" or len(net.options) ** len(block) > MOST_PATHS:
        return False
    return exact_steps(net, block, batch, clock) <= EXACT_STEPS


def exact_steps(
    net: Supernet,
    block: range,
    batch: Minibatch,
    clock: Callable[[], float] | None = None,
) -> float:
    """Measure what a step over all paths costs, in steps of one path: the mean over the options."""
    clock = clock or clock_of(net.device)
    count, places = len(net.options), range(net.places)
    every = enumerate_paths([range(count) if p in block else [NOTHING] for p in places])
    single = [[k if p in block else NOTHING for p in places] for k in range(count)]

    def seconds(paths: Tensor) -> float:
        best = float("inf")
        for _ in range(REPEATS):
            began = clock()
            loss = -net.log_prob(paths, batch.x, batch.context).mean()
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            if loss.is_cuda:
                torch.cuda.synchronize(loss.device)
            best = min(best, clock() - began)
        for theta in net.parameters():
            theta.grad = None
        return best

    alone = sum(seconds(torch.tensor([path])) for path in single) / count
    return seconds(every) / max(alone, 1e-9)
