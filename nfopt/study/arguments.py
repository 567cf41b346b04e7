"""What a caller asks for: the budget, a device, a name; checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nfopt.data import Prepared
from nfopt.spec import FlowSpec
from nfopt.study.length import DEFAULT_MINUTES


@dataclass(frozen=True)
class Budget:
    """How long a call may take.

    Attributes:
        trials: COMPLETE + PRUNED trials of the study at the end, over all its calls; or None.
        minutes: Wall clock of the whole call; or None. With neither, 10 minutes.

    Raises:
        ValueError: If one is not positive.
    """

    trials: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.trials is not None and (
            isinstance(self.trials, bool) or not isinstance(self.trials, int) or self.trials < 1
        ):
            raise ValueError(f"`trials` must be a whole number of at least 1, got {self.trials!r}.")
        check_minutes(self.minutes)
        if self.trials is None and self.minutes is None:
            object.__setattr__(self, "minutes", DEFAULT_MINUTES)

    @property
    def seconds(self) -> float | None:
        """Wall-clock seconds of the whole call, or None."""
        return None if self.minutes is None else 60.0 * self.minutes


def check_minutes(minutes: float | None) -> None:
    """Raise ValueError unless the minutes are positive and finite, or None."""
    given: object = minutes
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if given is not None and not (number and 0 < float(minutes or 0) < float("inf")):
        raise ValueError(f"`minutes` must be positive and finite, got {minutes!r}.")


def check_members(members: int) -> None:
    """Raise ValueError unless `members` is a whole number of at least 1."""
    given: object = members
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ValueError(f"`members` must be a whole number of at least 1, got {members!r}.")


def check_name(name: str, out: str | Path | None) -> str:
    """Check that a study's name can name a folder, where it has to."""
    if not name or (out is None and (name in (".", "..") or "/" in name or "\\" in name)):
        raise ValueError(f"`study` must be a name without slashes, got {name!r}.")
    return name


def check_flows(flows: Sequence[FlowSpec], data: Prepared, argument: str) -> None:
    """Refuse a flow for other data; a search would leave it out without a word.

    Args:
        flows: What a caller gave.
        data: What they are for.
        argument: Its name, for the message.

    Raises:
        ValueError: If features or context columns are not as many.
    """
    wanted = (data.features, data.context_features)
    for flow in flows:
        if (flow.features, flow.context_features) != wanted:
            raise ValueError(
                f"`{argument}` must be for {wanted[0]} features and {wanted[1]} context columns as"
                f" the data has, got a flow for {flow.features} and {flow.context_features}."
            )


def check_device(device: str | None) -> str:
    """Choose or check a device: CUDA where there is one.

    Raises:
        ValueError: If torch does not know it, or it is not there.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"`device` {device!r} can't be used: {str(error).splitlines()[0]}"
        ) from None
    return str(found)
