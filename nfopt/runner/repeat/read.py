"""What a flow.json says of how its flow was made; of an older nfopt, what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from nfopt.data import Preprocessing
from nfopt.errors import DataError
from nfopt.model import disk
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.study import dataset
from nfopt.study.arguments import check_flows
from nfopt.study.dataset import Source
from nfopt.training.provenance import Made, Provenance


@dataclass(frozen=True)
class Description:
    """A flow without its weights.

    Attributes:
        path: The file.
        specs: One a member.
        shares: Of the members; None: all alike.
        made: How they were trained.
        name: Of the data.
        fingerprint: Of the data.
        scores: As they were delivered.
    """

    path: Path
    specs: tuple[FlowSpec, ...]
    shares: list[float] | None
    made: Made
    name: str
    fingerprint: str
    scores: Mapping[str, Any]


def read_description(path: Path) -> Description:
    """Read how a flow was made.

    Args:
        path: A flow.json, by any name, or the folder that it is in.

    Raises:
        ValueError: If it can't be read, or says too little; one line that names the argument.
    """
    try:
        stored = disk.load_described(path)
        info = stored.info
        made = msgspec.convert(info["made"], Made) if "made" in info else _older(stored)
        if len(made.members) != len(stored.specs):
            raise ValueError(
                f"it has {len(stored.specs)} members and says of {len(made.members)} how they were"
                " trained"
            )
        return Description(
            path=path,
            specs=tuple(stored.specs),
            shares=None if stored.shares is None else list(stored.shares),
            made=made,
            name=str(info.get("name") or "data"),
            fingerprint=str(info["fingerprint"]),
            scores=info.get("scores") or {},
        )
    except KeyError as error:
        why = f"it says no {error.args[0]}: no nfopt search, fit or retrain has written it"
    except (ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
        why = " ".join(str(error).split()).rstrip(".")
        if why.startswith("`path`"):
            raise ValueError(f"`from` {why.removeprefix('`path` ')}.") from None
    raise ValueError(f"`from` {str(path)!r} can't be made again: {why}.")


def _older(stored: disk.Stored) -> Made:
    """Infer how a flow was made that says nothing of it: its data from its preprocessing."""
    info, maps = stored.info, stored.preprocessings[0]
    train = msgspec.convert(info["train"], TrainSpec)
    count = len(stored.specs)
    given = info.get("marginals", "standardise")
    marginals = [given] * count if isinstance(given, str) else list(given)
    facts = zip(marginals, info["seeds"], info["steps"], strict=True)
    return Made(
        options=_options(maps),
        seed=maps.seed,
        members=[
            Provenance(train, own, seed=seed, planned=steps, steps=steps, timed=True)
            for own, seed, steps in facts
        ],
    )


def _options(maps: Preprocessing) -> dict[str, Any]:
    """Give the options of the table that a preprocessing was fitted to."""
    hints = {column.name: column.hint for column in maps.columns}
    steps = {name: hint.step for name, hint in hints.items() if hint.step is not None}
    bounds = {
        name: (hint.low, hint.high)
        for name, hint in hints.items()
        if hint.low is not None or hint.high is not None
    }
    return {
        "columns": list(hints),
        "context": [column.name for column in maps.context] or None,
        "bounds": bounds or None,
        "dequantise": steps or False,
    }


def read_data(
    flow: Description, data: Any, on_warning: Callable[[str], None] | None = None
) -> Source:
    """Read the table that a flow was trained on, as it was read then, and see that it is the same.

    Args:
        flow: As described.
        data: Whatever `nfopt.data.load` takes.
        on_warning: As in `nfopt.data.load`.

    Raises:
        DataError: If it is another table, or can't be used.
    """
    made = flow.made
    options: dict[str, Any] = {**made.options, "split": made.split}
    source = dataset.read(data, seed=made.seed, on_warning=on_warning, **options)
    if source.data.fingerprint != flow.fingerprint:
        raise DataError(
            f"`data` {source.data.name!r} is not what the flow was trained on: rows"
            f" {list(source.data.sizes)}, then {made.rows or 'not known'}; fingerprint"
            f" {source.data.fingerprint[:12]}, then {flow.fingerprint[:12]}"
        )
    check_flows(flow.specs, source.data, "from")
    return source
