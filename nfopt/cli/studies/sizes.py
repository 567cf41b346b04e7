"""What studies have in their store of artifacts, in MB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nfopt.cli.progress import count

if TYPE_CHECKING:
    import optuna

    from nfopt.distributed.inventory import Held, Listing

Where = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|s3://BUCKET",
        help="Where the artifacts are: what --artifacts of nfopt search said. Without it: "
        "artifacts beside the storage's file, or in nfopt-runs.",
    ),
]


def files_in(root: str) -> Listing | None:
    """List a store of artifacts; None if it can't be."""
    from nfopt.distributed.inventory import listing
    from nfopt.errors import StudyError

    try:
        return listing(root)
    except StudyError:
        return None


def sizes_of(study: optuna.Study, there: Listing | None) -> dict[str, Any] | None:
    """Add up what a study has in a store.

    Args:
        study: The study.
        there: What is in it.

    Returns:
        As `artifact_sizes`; None: it can't be listed, or the study's artifacts are not in it.
    """
    from nfopt.distributed.inventory import held

    if there is None:
        return None
    holds = held(study, there)
    return None if holds.elsewhere is not None else artifact_sizes(holds)


def artifact_sizes(holds: Held) -> dict[str, Any]:
    """What a study has in its store of artifacts, in MB, as `--json` prints it."""
    from nfopt.distributed.inventory import KINDS

    sizes = {f"{kind}_mb": in_mb(holds.bytes(kind)) for kind in KINDS}
    files = len(holds.own) + len(holds.named)
    return {"place": holds.root, "files": files, "mb": in_mb(holds.bytes()), **sizes}


def sizes_text(sizes: dict[str, Any] | None) -> str:
    """Sizes of one study in words."""
    if sizes is None:
        return "unknown; --artifacts says where they are"
    kinds = ("weights", "checkpoints", "pictures")
    parts = ", ".join(f"{kind} {sizes[f'{kind}_mb']:,.1f}" for kind in kinds)
    return f"{sizes['mb']:,.1f} MB ({parts}), {count(sizes['files'], 'file')} in {sizes['place']}"


def in_mb(size: int) -> float:
    """Bytes in MB, to the kB."""
    return round(size / 1e6, 3)


def size_text(size: int) -> str:
    """A size in words: 3.2 MB.

    >>> size_text(3_240_000), size_text(900)
    ('3.2 MB', '0.9 kB')
    """
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
