"""How long the page of a study takes to open: `nfopt dashboard` in a headless chromium.

    python studies/dashboard/run.py                    # 1,000 trials; two minutes
    python studies/dashboard/run.py --trials 200 --rounds 3

The trials are drawn at random from the full space of a table of 10 columns, and have all that a
search writes: attributes, notes, figures, the names of their pictures. Their values are made up and
nothing is trained. A round opens the page in a new tab; it is over once all figures of the first
page are drawn and the page has computed nothing for half a second (which is not counted). Seconds
of CPU are said beside it: on a machine that does other things, too, the wall clock is an upper end.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt import stored
from nfopt.report.publisher import CURVE, MASKS, Publisher
from nfopt.space import SearchSpace
from nfopt.storage.open import open_storage
from nfopt.study.create import METRICS

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.report.chromium import TITLES, Missing, chromium

COLUMNS = [f"column {number}" for number in range(1, 11)]
TICKS = os.sysconf("SC_CLK_TCK")
# Seconds since the navigation at which the page was ready, or null: all figures are there, and the
# last long task ended half a second ago.
READY = """
    if (!window.seenTasks) {
        window.seenTasks = [];
        new PerformanceObserver(list => window.seenTasks.push(...list.getEntries()))
            .observe({type: 'longtask', buffered: true});
    }
    const titles = [...document.querySelectorAll('svg.main-svg .gtitle')].map(x => x.textContent);
    if (!arguments[0].every(title => titles.includes(title))) return null;
    window.seenAt ??= performance.now();
    const ends = window.seenTasks.map(x => x.startTime + x.duration);
    const last = Math.max(window.seenAt, ...ends);
    return performance.now() - last > 500 ? last / 1000 : null;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keeps the study that is made, and takes it")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        home = options.folder or Path(temporary)
        url = f"sqlite:///{home}/{options.trials}.db"
        if not (home / f"{options.trials}.db").exists():
            make(url, options.trials)
        try:
            found = measured(url, Path(temporary), options.rounds)
        except Missing as error:
            raise SystemExit(str(error)) from None
    found = {"trials": options.trials, "load": os.getloadavg()[0], **found}
    print(json.dumps(found, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


# ------------------------------------------------------------------------------------- the study


def make(url: str, count: int) -> optuna.Study:
    """A study of so many trials, with notes and figures."""
    rng = np.random.default_rng(0)
    space = SearchSpace.for_data(rng.normal(size=(5000, len(COLUMNS))))
    study = optuna.create_study(study_name="many", storage=open_storage(url))
    for name, value in {
        names.SPACE: json.loads(space.to_json()),
        names.DATA: {"name": "many", "rows": [5000, 600, 600], "columns": COLUMNS},
        names.OBJECTIVES: ["nll"],
        names.SAMPLER: "evolution",
        names.STUDY_SEED: 0,
        names.BUDGET: {"trials": count, "minutes": None},
    }.items():
        study.set_user_attr(name, value)
    study.set_metric_names([METRICS["nll"]])
    study.add_trials(trials(space, count, rng))
    publisher = Publisher()
    publisher._study = study
    publisher._round()
    return study


def trials(space: SearchSpace, count: int, rng: np.random.Generator) -> Iterator[FrozenTrial]:
    """Finished trials, a third of them pruned, with what a search writes."""
    memory = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(count):
        trial = memory.ask()
        recipe = space.suggest(trial)
        spec, train = recipe.flow, recipe.train
        nll = float(10.0 + rng.gamma(2.0) + 5.0 * math.exp(-number / 100))
        pruned = number % 3 == 2
        rungs = {25: nll + 1.0} if pruned else {25: nll + 1.0, 50: nll + 0.5, 100: nll}
        for step, value in rungs.items():
            trial.report(value, step)
        for picture in (MASKS, CURVE):
            key = str(uuid.UUID(bytes=rng.bytes(16)))
            meta = {"artifact_id": key, "filename": picture, "mimetype": "image/png"}
            value = json.dumps({**meta, "encoding": None})
            memory._storage.set_trial_system_attr(trial._trial_id, f"artifacts:{key}", value)
        stored.write(
            trial,
            {
                names.SPEC: spec.to_json(),
                names.TRAIN: train.to_json(),
                names.GENOME: space.genome(spec),
                names.PARAMETERS: spec.parameter_count(),
                names.COST_TRAIN: 0.1,
                names.COST_INVERSE: 0.2,
                names.SEED: number,
                names.VERSIONS: {"nfopt": "0", "torch": "0", "optuna": "0", "numpy": "0"},
                names.WORKER: {"host": "here", "pid": 1, "began": "1", "space": "pid:[1]"},
                names.LEASE: {"lead": number // 8 * 8},
                names.SECONDS: 2.0,
                names.FIDELITY: 0.25 if pruned else 1.0,
                names.ROUND_TRIP: 1e-6,
                names.NLL_2SE: 0.02,
            },
        )
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        yield memory.tell(trial, None if pruned else nll, state=state)


# --------------------------------------------------------------------------------------- the page


def measured(url: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Serve the study, and open it again and again."""
    with served(url, folder) as (server, address):
        host, _, page = address.partition("/dashboard")
        answer = f"{host}/api{page}"
        sizes, answers = [], []
        for _ in range(rounds):
            began, used = time.monotonic(), cpu([server])
            sizes.append(len(read(answer)))
            answers.append((time.monotonic() - began, cpu([server]) - used))
        with chromium(folder / "profile") as driver:
            opened = [opening(driver, server, address) for _ in range(rounds)]
    return {
        "answer_megabytes": round(sizes[-1] / 1e6, 3),
        "answer_seconds": round(median(wall for wall, _ in answers), 3),
        "answer_server_cpu": round(median(used for _, used in answers), 3),
        "page_seconds": [round(one[0], 3) for one in opened],
        "page_seconds_median": round(median(one[0] for one in opened), 3),
        "page_server_cpu": round(median(one[1] for one in opened), 3),
        "page_browser_cpu": round(median(one[2] for one in opened), 3),
    }


@contextmanager
def served(url: str, folder: Path) -> Iterator[tuple[int, str]]:
    """Run `nfopt dashboard`; gives its process and the page's address once it answers."""
    words = ("-m", "nfopt", "dashboard", "many", "--port", "0")
    process = subprocess.Popen(
        [sys.executable, *words],
        env=os.environ | {"NFOPT_STORAGE": url},
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    assert process.stderr is not None
    try:
        address = process.stderr.readline().split(";")[0].strip()
        if not address.startswith("http://"):
            raise SystemExit(address)
        read(address)
        yield process.pid, address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def opening(driver: Any, server: int, address: str) -> tuple[float, float, float]:
    """Seconds until the page is ready, and the CPU time of server and browser."""
    driver.switch_to.new_window("tab")
    mine = family(driver.service.process.pid)
    before, used = cpu([server]), cpu(mine)
    driver.get(address)
    until = time.monotonic() + 60
    while (seconds := driver.execute_script(READY, TITLES)) is None:
        if time.monotonic() > until:
            raise SystemExit("the page was not ready after a minute")
        time.sleep(0.1)
    # processes that began since are counted from their beginning
    after = cpu(family(driver.service.process.pid))
    found = float(seconds), cpu([server]) - before, after - used
    driver.close()
    driver.switch_to.window(driver.window_handles[0])
    return found


def read(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        return bytes(answer.read())


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for one in found:
        found += [pid for pid, parent in parents.items() if parent == one]
    return found


def cpu(pids: list[int]) -> float:
    """CPU seconds of processes, user and system."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


if __name__ == "__main__":
    main()
