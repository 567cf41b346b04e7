"""Workers as tasks of Ray, on this machine or on the cluster that RAY_ADDRESS names.

Ray only places workers and assigns them CPUs and a GPU; work is shared through the study, as with
all workers. A task that dies is restarted by Ray; its trials return to the queue when their lease
has expired. The machines need nfopt, the storage and the data: a folder that all of them see, or a
study whose data was kept with its artifacts.

The storage's URL is an argument of the task, since Ray's dashboard shows the environment and the
command line of its workers, but not arguments.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any

from nfopt.errors import StudyError
from nfopt.events import Notice, OnEvent, Watch, ignore
from nfopt.runner.engines.local_workers import Places
from nfopt.storage.open import Storage, mask_text, worker_environment

RETRIES = 20  # of a task whose process died
STOP_SECONDS = 8.0  # for a last checkpoint, before a task is killed
QUIET_SECONDS = 3.0  # for tasks to end by themselves once the budget is met


def work(
    study: str,
    storage: str,
    device: str,
    threads: int | None,
    watch: Watch | None = None,
    places: Places | None = None,
) -> int:
    """A worker, run inside a task of Ray.

    Args:
        study: Name.
        storage: URL.
        device: "cpu" or "cuda".
        threads: CPU threads.
        watch: Hook around its work, such as drawing.
        places: Locations of the data and of artifacts.

    Returns:
        The number of trials that it told.
    """
    from nfopt.runner.worker import run_worker

    with nullcontext(ignore) if watch is None else watch(ignore, storage) as tell:
        return run_worker(
            study,
            storage,
            data=None if places is None else places.data,
            artifacts=None if places is None else places.artifacts,
            device=device,
            threads=threads,
            on_event=tell,
        ).own


class RayWorkers:
    """Tasks of Ray that work on a study, which live as long as the block.

    Args:
        study: Name.
        storage: URL that every machine of the cluster can reach.
        devices: One a worker, "cpu" or "cuda".
        threads: CPUs of each.
        on_event: Called with a notice when a worker fails.
        stopping: Polled a few times a second; once true, the tasks are stopped.
        watch: Hook around the workers' work, a function that Ray can import by name.
        places: Locations of the data and of artifacts.

    Raises:
        StudyError: If Ray is not installed, no cluster answers, or the storage is private to this
            process.
    """

    def __init__(
        self,
        study: str,
        storage: Storage | None,
        devices: Sequence[str],
        threads: int | None,
        on_event: OnEvent,
        stopping: Callable[[], bool],
        watch: Watch | None = None,
        *,
        places: Places | None = None,
    ) -> None:
        self._url = next(iter(worker_environment(storage).values()))
        self._study, self._devices, self._threads = study, devices, threads
        self._on_event, self._stopping, self._watched = on_event, stopping, watch
        self._places = places or Places()
        self._over = threading.Event()
        self._tasks: list[Any] = []
        self._ours = False  # whether this object started Ray, and shuts it down
        self._ray = _import()

    def __enter__(self) -> RayWorkers:
        """Submit the tasks."""
        ray = self._ray
        if not ray.is_initialized():
            try:
                # Ray reads RAY_ADDRESS itself; without it, it starts on this machine
                quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
                ray.init(include_dashboard=False, **quiet, **self._resources())
            except (ConnectionError, RuntimeError, ValueError) as error:
                where = os.environ.get("RAY_ADDRESS", "this machine")
                raise StudyError(f"Ray does not start on {where}: {_line(error)}") from None
            self._ours = True
        for device in self._devices:
            options = {
                "num_cpus": self._threads or 1,
                "num_gpus": 1 if device.startswith("cuda") else 0,
                "max_retries": RETRIES,
            }
            # with CUDA, Ray shows a task only the GPU that it is given
            kind = device.partition(":")[0]
            task = ray.remote(**options)(work)
            given = (self._study, self._url, kind, self._threads, self._watched, self._places)
            self._tasks.append(task.remote(*given))
        if self._tasks:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the tasks; those that still train leave a checkpoint for others."""
        self._stop()
        if self._tasks:
            self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=STOP_SECONDS)
        for task in self._open():
            self._cancel(task, force=True)
        if self._ours:
            self._ray.shutdown()

    def finish(self) -> None:
        """Wait for the tasks to end by themselves, as the budget is met; then stop them."""
        until = time.monotonic() + QUIET_SECONDS
        while self._open() and time.monotonic() < until:
            time.sleep(0.05)
        self._stop()

    def _resources(self) -> dict[str, Any]:
        """CPUs of a cluster on this machine, enough for all tasks; none for other clusters."""
        if "RAY_ADDRESS" in os.environ:
            return {}
        cpus = len(self._devices) * (self._threads or 1)
        return {"num_cpus": max(os.cpu_count() or 1, cpus)}

    def _open(self) -> list[Any]:
        if not self._tasks:
            return []
        running: list[Any] = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)[1]
        return running

    def _stop(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        for task in self._open():
            self._cancel(task, force=False)  # like Ctrl-C: it leaves a checkpoint

    def _cancel(self, task: Any, *, force: bool) -> None:
        with suppress(ValueError, TypeError, self._ray.exceptions.RayError):  # it has ended
            self._ray.cancel(task, force=force)

    def _watch(self) -> None:
        """Report failed workers, and stop all once `stopping` is true."""
        running = list(self._tasks)
        while running and not self._over.wait(0.2):
            if self._stopping():
                self._stop()
                return
            done, running = self._ray.wait(running, num_returns=len(running), timeout=0)
            for task in done:
                try:
                    self._ray.get(task)
                except self._ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    reason = mask_text(_line(cause), self._url)
                    self._on_event(Notice(f"a worker has ended, the search goes on: {reason}"))


def _import() -> Any:
    # otherwise Ray would copy the project's folder to its workers and start them through uv or pip
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise StudyError(
            "`engine` 'ray' needs what is not installed: pip install 'nfopt[ray]'."
        ) from None
    return ray


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
