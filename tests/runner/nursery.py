"""A process that starts workers by forking, so that a killed one is replaced in milliseconds.

python -m tests.runner.nursery FOLDER URL      then a number on standard input for each worker

A worker that is started writes the member-steps that it takes into FOLDER/steps-NUMBER, eight bytes
that outlive it.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import traceback
from pathlib import Path
from typing import Any

import optuna
import torch

from nfopt.runner.worker import run_worker
from nfopt.training.population import Population


def count_steps(path: Path) -> None:
    """Have each step of a population counted in a file."""
    path.write_bytes(bytes(8))
    with path.open("r+b") as file:
        counter = mmap.mmap(file.fileno(), 8)
    real = Population.advance

    def advance(self: Population, *arguments: object) -> None:
        members = len(self.members)
        real(self, *arguments)  # type: ignore[arg-type]
        counter[:] = struct.pack("q", struct.unpack("q", counter[:])[0] + members)

    Population.advance = advance  # type: ignore[method-assign]


def work(folder: Path, url: str, number: int) -> None:
    """Be a worker until the budget is met; never returns."""
    code = 0
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        torch.set_num_threads(1)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        count_steps(folder / f"steps-{number}")
        sys.stdin = open(os.devnull)  # noqa: SIM115
        sys.stderr = open(folder / f"log-{number}", "w", buffering=1)  # noqa: SIM115

        def tell(event: object) -> None:
            text = getattr(event, "text", None)
            if text is not None:
                print(text, file=sys.stderr)

        options: dict[str, Any] = {
            "data": folder / "out" / "data.npz",
            "artifacts": folder / "artifacts",
            "device": "cpu",
        }
        run_worker("chaos", url, **options, checkpoint_seconds=0.5, on_event=tell)
        print("ended", file=sys.stderr)
    except BaseException:  # noqa: BLE001 - whatever it is, its log says it
        traceback.print_exc()
        code = 1
    os._exit(code)


def main() -> None:
    """Fork a worker for each number that is read."""
    folder, url = Path(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work(folder, url, int(line))
        print(child, flush=True)


if __name__ == "__main__":
    main()
