"""One cell: a method on a task, in a process of its own; prints a line of JSON.

python studies/sbi/cell.py "nfopt search" two_moons 10000 60 0
"""

from __future__ import annotations

import time

# All budgets are in processor seconds, nfopt's too: whoever shares the core does not matter.
time.monotonic = time.perf_counter = time.process_time

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import warnings  # noqa: E402

import sbibm  # noqa: E402
import torch  # noqa: E402
from methods import METHODS, log_prob  # noqa: E402
from sbi.utils.metrics import c2st  # noqa: E402

HELD_OUT = 5_000  # simulations that score
OBSERVATIONS = range(1, 6)  # of the ten that sbibm has
SAMPLES = 1_000  # of each posterior, beside as many of the reference


def main(method: str, name: str, simulations: int, seconds: float, seed: int) -> dict[str, object]:
    torch.set_num_threads(1)
    task = sbibm.get_task(name)
    torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())  # sbi draws from it too
    draw, simulate = task.get_prior(), task.get_simulator()
    pairs = []
    for count in (simulations, HELD_OUT):
        theta = draw(num_samples=count)
        pairs.append((theta, simulate(theta)))
    began = time.process_time()
    prior = task.get_prior_dist()
    posterior, what = METHODS[method](*pairs[0], prior, seconds, seed)
    taken = time.process_time() - began
    scores = log_prob(posterior, *pairs[1])
    found = []
    for number in OBSERVATIONS:
        reference = task.get_reference_posterior_samples(number)[:SAMPLES]
        given = task.get_observation(number)
        drawn = posterior.sample((SAMPLES,), x=given, show_progress_bars=False).detach()
        found.append(float(c2st(reference, drawn, classifier="mlp")))
    return {
        "c2st": [round(value, 4) for value in found],
        "log_prob": round(float(scores.mean()), 4),
        "log_prob_2se": round(2 * float(scores.std()) / len(scores) ** 0.5, 4),
        "seconds": round(taken, 1),
        "what": what,
    }


if __name__ == "__main__":
    method, name, simulations, seconds, seed = sys.argv[1:]
    warnings.filterwarnings("ignore")
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print does not mix with the answer
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # sbi writes its logs there
        line = json.dumps(main(method, name, int(simulations), float(seconds), int(seed)))
    os.write(answer, (line + "\n").encode())
