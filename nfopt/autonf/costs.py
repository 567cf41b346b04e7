"""What each option costs: measured on this machine and kept, or counted from the spec.

    table = CostTable(default_place())
    table.costs("train", options, features=10, batch=256)       # seconds a row, one an option

A measurement is of one option at one place, by its layers, D, context, batch, direction, device and
threads. It is kept as JSON, so that searches on one machine compare the same numbers.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path as File
from typing import Literal, get_args

import msgspec
import torch

from nfopt.autonf.options import Option, layers_of
from nfopt.errors import NfoptError
from nfopt.files import replacing
from nfopt.flows import Stack, build
from nfopt.flows.cost import inverse_cost, train_cost
from nfopt.layers import Plain, check_choice
from nfopt.spec import FlowSpec
from nfopt.training.measure import step

Cost = Literal[
    "train", "log_prob", "inverse", "train_multiply_adds", "inverse_multiply_adds", "parameters"
]
MEASURED = ("train", "log_prob", "inverse")  # seconds; the others are counted

WARM_UP, REPEATS = 2, 7  # of a measurement; the least of the repeats is kept
VERSION = 1


class Entry(Plain, frozen=True):
    """One measurement.

    Attributes:
        layers: Of the option, as the canonical JSON of a flow of its own.
        direction: "train" (log_prob and its gradient), "log_prob" or "inverse" (a sample).
        batch: Rows at a time.
        device: Its name.
        threads: CPU threads.
        torch: Version.
        seconds: A row.
    """

    layers: str
    direction: str
    batch: int
    device: str
    threads: int
    torch: str
    seconds: float

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two measurements the same."""
        return (*(getattr(self, name) for name in self.__struct_fields__[:-1]),)


class _Book(Plain, frozen=True):
    entries: tuple[Entry, ...]
    version: int = VERSION


def default_place() -> File:
    """Return the file where a user's measurements are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(File.home() / ".cache")
    return File(base) / "nfopt" / "costs.json"


class CostTable:
    """Measured costs, kept in a file.

    Args:
        path: Of the JSON file, made when it is needed; None keeps nothing.
        clock: Seconds; None: see `clock_of`.

    Raises:
        NfoptError: If the file is no table of this version.
    """

    def __init__(self, path: File | None = None, clock: Callable[[], float] | None = None) -> None:
        self.path, self._clock = path, clock
        self.entries: dict[tuple[object, ...], Entry] = {}
        if path is not None and path.exists():
            self.entries = {entry.key: entry for entry in _read(path)}

    def costs(
        self,
        cost: Cost,
        options: Sequence[Option],
        features: int,
        *,
        context_features: int = 0,
        batch: int = 256,
        device: torch.device | str = "cpu",
    ) -> tuple[float, ...]:
        """Look the options' costs up, and measure those that are not there.

        Args:
            cost: Which one: seconds of "train", "log_prob" or "inverse"; or counted
                "train_multiply_adds", "inverse_multiply_adds" (millions) or "parameters".
            options: Of every layer; each is measured as at place 0.
            features: D.
            context_features: Columns given as context.
            batch: Rows at a time.
            device: Where to measure.

        Returns:
            One an option, a row; 0 for an option that does nothing.

        Raises:
            ValueError: If there is no such cost.
        """
        check_choice("cost", cost, Cost)
        specs = [
            FlowSpec(
                features=features,
                layers=layers_of((option,), (0,)),
                context_features=context_features,
            )
            for option in options
        ]
        if cost not in MEASURED:
            return tuple(_counted(cost, spec) for spec in specs)
        where = _device_name(torch.device(device))
        wanted = [
            Entry(
                layers=spec.to_json(),
                direction=cost,
                batch=batch,
                device=where,
                threads=torch.get_num_threads(),
                torch=str(torch.__version__),
                seconds=0.0,
            )
            for spec in specs
        ]
        missing = [k for k, e in enumerate(wanted) if e.key not in self.entries and specs[k].layers]
        if missing:
            taken = measure(
                cost, [specs[k] for k in missing], batch=batch, device=device, clock=self._clock
            )
            for k, seconds in zip(missing, taken, strict=True):
                entry = msgspec.structs.replace(wanted[k], seconds=seconds)
                self.entries[entry.key] = entry
            self._save()
        return tuple(
            self.entries[entry.key].seconds if spec.layers else 0.0
            for entry, spec in zip(wanted, specs, strict=True)
        )

    def _save(self) -> None:
        if self.path is None:
            return
        if self.path.exists():  # another process may have measured meanwhile
            self.entries = {entry.key: entry for entry in _read(self.path)} | self.entries
        book = _Book(entries=tuple(self.entries.values()))
        with replacing(self.path) as beside:
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(book)))


def measure(
    direction: str,
    specs: Sequence[FlowSpec],
    *,
    batch: int,
    device: torch.device | str = "cpu",
    clock: Callable[[], float] | None = None,
) -> list[float]:
    """Measure flows side by side: the least time of several rounds, so that other work counts less.

    Args:
        direction: "train", "log_prob" or "inverse".
        specs: What to measure.
        batch: Rows at a time.
        device: Where.
        clock: Seconds; None: see `clock_of`.

    Returns:
        Seconds a row, one a flow.
    """
    clock = clock or clock_of(torch.device(device))
    generator = torch.Generator().manual_seed(0)
    stacks = [build([spec], generator, device=device)[0] for spec in specs]
    features, context = specs[0].features, specs[0].context_features
    x = torch.randn(batch, features, generator=generator).to(device)
    seen = torch.randn(batch, context, generator=generator).to(device) if context else None
    best = [float("inf")] * len(specs)
    for number in range(WARM_UP + REPEATS):
        for k, stack in enumerate(stacks):
            began = clock()
            _once(direction, stack, x, seen)
            taken = clock() - began
            if number >= WARM_UP:
                best[k] = min(best[k], taken / batch)
    return best


def clock_of(device: torch.device) -> Callable[[], float]:
    """Choose a clock: processor time on one CPU thread, which other work does not lengthen."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def _once(direction: str, stack: Stack, x: torch.Tensor, context: torch.Tensor | None) -> None:
    if direction == "train":
        step(stack, x, context)
        return
    with torch.no_grad():
        if direction == "inverse":
            stack.inverse(x, context)
        else:
            stack.log_prob(x, context)
    if stack.theta.is_cuda:
        torch.cuda.synchronize(stack.theta.device)


def _counted(cost: Cost, spec: FlowSpec) -> float:
    if cost == "parameters":
        return float(spec.parameter_count())
    return train_cost(spec) if cost == "train_multiply_adds" else inverse_cost(spec)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {platform.node()} {platform.machine()}"


def _read(path: File) -> tuple[Entry, ...]:
    try:
        book = msgspec.json.decode(path.read_bytes(), type=_Book)
    except (OSError, msgspec.MsgspecError) as error:
        raise NfoptError(
            f"`costs` {str(path)!r} can't be read ({error}): delete it to measure anew."
        ) from None
    if book.version != VERSION:
        raise NfoptError(
            f"`costs` {str(path)!r} has version {book.version}, this nfopt reads {VERSION}:"
            " delete it to measure anew."
        )
    return book.entries


COSTS: tuple[str, ...] = get_args(Cost)
