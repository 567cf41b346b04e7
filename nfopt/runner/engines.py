"""Where the workers of a search run: processes of this machine, or tasks of a Ray cluster."""

from __future__ import annotations

from nfopt.runner import local_workers as local
from nfopt.runner.local_workers import LocalWorkers
from nfopt.runner.ray_workers import RayWorkers

ENGINES: dict[str, type[LocalWorkers] | type[RayWorkers]] = {
    "local": LocalWorkers,
    "ray": RayWorkers,
}


def share_out(
    workers: int, device: str, threads: int | None, engine: str = "local"
) -> tuple[list[str], int | None]:
    """Give each worker a device and threads.

    Args:
        workers: How many.
        device: Where to train; with CUDA each worker has a GPU of its own.
        threads: CPU threads: with "local" of all together, with "ray" of each worker; None: all
            cores of this machine, or one.
        engine: A key of `ENGINES`.

    Returns:
        A device each, and threads each (None: one worker, which has what torch chooses).

    Raises:
        ValueError: If there are not so many GPUs here, or an argument is none of its kind.
    """
    if engine not in ENGINES:
        raise ValueError(f"`engine` must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if engine == "ray":
        local.share_out(workers, "cpu", None)  # only for the number's sake
        return [device] * workers, threads if workers == 1 else threads or 1
    return local.share_out(workers, device, threads)
