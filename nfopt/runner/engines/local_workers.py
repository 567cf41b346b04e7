"""Workers on this machine: processes that run `nfopt worker` beside a search."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import torch

from nfopt.events import Notice, OnEvent, Watch
from nfopt.storage.open import Storage, mask_text, worker_environment

STOP_SECONDS = 8.0  # for a last checkpoint, before a worker is killed
QUIET_SECONDS = 3.0  # for workers to end by themselves once the budget is met
REPORTED = ("Error:", "Warning:")  # beginnings of the lines that are passed on
PICTURES = "NFOPT_PICTURES"  # environment variable: whether nfopt worker draws


def cores() -> int:
    """The number of CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def share_out(workers: int, device: str, threads: int | None) -> tuple[list[str], int | None]:
    """Devices and threads of the workers.

    >>> share_out(2, "cpu", threads=8)
    (['cpu', 'cpu'], 4)

    Args:
        workers: Their number.
        device: Where to train; with CUDA each worker has a GPU of its own, the first one the given
            one ("cuda:1").
        threads: CPU threads of all workers together; None: all cores.

    Returns:
        A device a worker, and the threads of each (None: a single worker, for which torch chooses).

    Raises:
        ValueError: If there are fewer GPUs than workers, or `workers` is not a number.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"`workers` must be a whole number of at least 1, got {workers!r}.")
    if workers == 1:
        return [device], threads
    per_worker = max(1, (cores() if threads is None else threads) // workers)
    if not device.startswith("cuda"):
        return [device] * workers, per_worker
    count = torch.cuda.device_count()
    if count < workers:
        raise ValueError(
            f"`workers` must be at most {count} with `device` {device!r}, one a GPU, got {workers}:"
            " a GPU trains a whole population at a time; or use device cpu."
        )
    first = torch.device(device).index or 0
    return [f"cuda:{(first + number) % count}" for number in range(workers)], per_worker


@dataclass(frozen=True)
class Places:
    """Locations given by the user of this process; workers never take them from a study.

    Attributes:
        data: A path or a named data set; None: not known.
        artifacts: A folder or a bucket; None: at the storage's place.
    """

    data: str | None = None
    artifacts: str | os.PathLike[str] | None = None

    def arguments(self) -> list[str]:
        """The options of `nfopt worker` that pass them on."""
        given = {"data": self.data, "artifacts": self.artifacts}
        return [f"--{name}={os.fspath(v)}" for name, v in given.items() if v is not None]


class LocalWorkers:
    """Worker processes, which live as long as the block.

    Args:
        study: Name.
        storage: URL; passed in their environment, which no list of processes shows.
        devices: One a worker.
        threads: CPU threads of each.
        on_event: Called with a notice when a worker fails.
        stopping: Polled a few times a second; once true, all workers are stopped at the same time.
        watch: Not called here, as the workers are `nfopt worker`: they draw unless it is None.
        places: Locations of the data and of artifacts.
        command: To start a worker; for tests.
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
        command: Sequence[str] = (sys.executable, "-m", "nfopt", "worker"),
        *,
        places: Places | None = None,
    ) -> None:
        if devices and storage is not None and not isinstance(storage, str):
            raise ValueError(
                "`storage` must be a URL where `workers` is above 1: other processes open it."
            )
        self._study, self._storage, self._command = study, storage, command
        self._devices, self._threads = devices, threads
        self._on_event, self._stopping = on_event, stopping
        self._draw, self._places = watch is not None, places or Places()
        self._processes: list[subprocess.Popen[str]] = []
        self._over, self._lock = threading.Event(), threading.Lock()

    def __enter__(self) -> LocalWorkers:
        """Start the workers."""
        environment = dict(os.environ)
        if self._devices:
            environment |= worker_environment(self._storage)
            environment[PICTURES] = "1" if self._draw else "0"
        arguments = [f"--parent={os.getpid()}", *self._places.arguments()]
        if self._threads is not None:
            arguments.append(f"--threads={self._threads}")
            environment["OMP_NUM_THREADS"] = str(self._threads)
        for number, device in enumerate(self._devices, 1):
            process = subprocess.Popen(
                [*self._command, f"--device={device}", *arguments, "--", self._study],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # this process passes Ctrl-C on, once
            )
            self._processes.append(process)
            threading.Thread(target=self._listen, args=(number, process), daemon=True).start()
        if self._processes:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the workers; those that still train leave a checkpoint for others."""
        self._stop()
        until = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            try:
                process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def finish(self) -> None:
        """Wait for the workers to end by themselves, as the budget is met; then stop them."""
        until = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < until and any(p.poll() is None for p in self._processes):
            time.sleep(0.05)
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            if self._over.is_set():
                return  # a second signal would end them without a last checkpoint
            self._over.set()
        for process in self._processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            if self._stopping():
                self._stop()

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        """Pass on a worker's warnings, and report its end if it failed."""
        last = ""
        for line in process.stderr or ():
            if line.startswith(REPORTED):
                last = mask_text(line.partition(":")[2].strip(), self._storage)
                if not line.startswith("Error:"):
                    self._on_event(Notice(f"worker {number}: {last}"))
        code = process.wait()
        if code != 0 and not self._over.is_set():
            how = last or (f"signal {-code}" if code < 0 else f"exit code {code}")
            self._on_event(Notice(f"worker {number} has ended, the search goes on: {how}"))
