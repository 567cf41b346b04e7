"""Engines that run a search's workers: processes of this machine, or tasks of a Ray cluster."""

from __future__ import annotations

from nfopt.runner.engines import local_workers as local
from nfopt.runner.engines.local_workers import LocalWorkers
from nfopt.runner.engines.ray_workers import RayWorkers

ENGINES: dict[str, type[LocalWorkers] | type[RayWorkers]] = {
    "local": LocalWorkers,
    "ray": RayWorkers,
}


def share_out(
    workers: int, device: str, threads: int | None, engine: str = "local"
) -> tuple[list[str], int | None]:
    """Devices and threads of the workers.

    Args:
        workers: Their number.
        device: Where to train; with CUDA each worker has a GPU of its own.
        threads: CPU threads: with "local" of all together, with "ray" of each worker; None: all
            cores of this machine, or one.
        engine: A key of `ENGINES`.

    Returns:
        A device a worker, and the threads of each (None: a single worker, for which torch chooses).

    Raises:
        ValueError: If there are too few GPUs, or an argument does not fit.
    """
    if engine not in ENGINES:
        raise ValueError(f"`engine` must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if engine == "ray":
        local.share_out(workers, "cpu", None)  # checks `workers`
        return [device] * workers, threads if workers == 1 else threads or 1
    return local.share_out(workers, device, threads)
