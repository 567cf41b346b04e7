"""What is compared: each takes simulations, a prior and a deadline, and gives a posterior of sbi.

Seconds are those of `time.process_time`, so that other work on the machine counts for nobody.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
from sbi.inference import NPE
from sbi.neural_nets import posterior_nn
from sbi.neural_nets.embedding_nets import FCEmbedding
from torch import Tensor

from nfopt import api
from nfopt.sbi import search_posterior, to_posterior
from nfopt.sbi.simulations import read

Posterior = Any  # sbi has no types
Method = Callable[[Tensor, Tensor, Any, float, int], tuple[Posterior, str]]

TUNING = 0.75  # share of the seconds that the guide's trials have; the rest is its last training's
TRIALS = 25


class Timed(NPE):
    """sbi's trainer, which ends when its time is over and keeps the weights that validate best."""

    deadline = float("inf")

    def _converged(self, epoch: int, stop_after_epochs: int) -> bool:
        if super()._converged(epoch, stop_after_epochs):
            return True
        if over := time.process_time() > self.deadline:
            self._neural_net.load_state_dict(self._best_model_state_dict)
        return over


def trained(
    build: Any, theta: Tensor, x: Tensor, prior: Any, deadline: float, **options: Any
) -> tuple[Timed, Any]:
    """Train as sbi does by default, until the deadline at the latest."""
    trainer = Timed(prior, density_estimator=build, show_progress_bars=False)
    trainer.deadline = deadline
    return trainer, trainer.append_simulations(theta, x).train(**options)


def sbi_default(model: str) -> Method:
    """One of sbi's models with all defaults; it ends by itself after 20 epochs without a gain."""

    def fit(
        theta: Tensor, x: Tensor, prior: Any, seconds: float, seed: int
    ) -> tuple[Posterior, str]:
        build = model if model == "nsf" else posterior_nn(model)
        deadline = time.process_time() + seconds
        trainer, _ = trained(build, theta, x, prior, deadline)
        return trainer.build_posterior(), f"{trainer.summary['epochs_trained'][-1]} epochs"

    return fit


def optuna_guide(
    theta: Tensor, x: Tensor, prior: Any, seconds: float, seed: int
) -> tuple[Posterior, str]:
    """sbi's how-to: 25 trials of TPE over the embedding and the transforms, then a last training.

    A sixth of the simulations compares the trials. The trials end after three quarters of the time,
    if they are not done before; the training that is under way then counts as it is. The score is
    the estimator's log-density, without the correction for leakage that the guide's own call makes:
    at 10,000 draws for each simulation it would take longer than the training.
    """
    began = time.process_time()
    tuned, last = began + TUNING * seconds, began + seconds
    first = len(theta) * 5 // 6

    def estimator(embedding: int, transforms: int) -> Any:
        net = FCEmbedding(input_dim=x.shape[1], output_dim=embedding)
        return posterior_nn("nsf", embedding_net=net, num_transforms=transforms)

    def objective(trial: optuna.Trial) -> float:
        build = estimator(
            trial.suggest_categorical("embedding_dim", [16, 32, 64]),
            trial.suggest_int("num_transforms", 2, 6),
        )
        options = {"max_num_epochs": 50, "training_batch_size": 128}
        _, found = trained(build, theta[:first], x[:first], prior, tuned, **options)
        if time.process_time() > tuned:
            trial.study.stop()
        with torch.no_grad():
            return -float(found.log_prob(theta[None, first:], x[first:]).mean())

    sampler = optuna.samplers.TPESampler(n_startup_trials=10, seed=seed)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({"embedding_dim": 32, "num_transforms": 4})
    study.optimize(objective, n_trials=TRIALS)
    best = study.best_params
    build = estimator(best["embedding_dim"], best["num_transforms"])
    trainer, _ = trained(build, theta, x, prior, last, training_batch_size=128)
    return trainer.build_posterior(), f"{len(study.trials)} trials, {best}"


def nfopt_search(
    theta: Tensor, x: Tensor, prior: Any, seconds: float, seed: int
) -> tuple[Posterior, str]:
    """`nfopt.sbi.search_posterior`, as anyone calls it, on one thread."""
    storage = optuna.storages.InMemoryStorage()
    with tempfile.TemporaryDirectory() as folder:
        posterior = search_posterior(
            theta,
            x,
            prior=prior,
            minutes=seconds / 60,
            storage=storage,
            device="cpu",
            threads=1,
            seed=seed,
            out=Path(folder) / "flow",
        )
    (study,) = optuna.get_all_study_summaries(storage)
    return posterior, f"{study.n_trials} trials, {len(members(posterior))} flows"


def nfopt_fit(
    theta: Tensor, x: Tensor, prior: Any, seconds: float, seed: int
) -> tuple[Posterior, str]:
    """`nfopt.fit`, without a search."""
    data = read(theta, x).table(seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "flow"
        options = {"device": "cpu", "threads": 1, "seed": seed, "out": out}
        flow = api.fit(data, minutes=seconds / 60, **options).flow
    return to_posterior(flow, prior), f"{len(flow)} flows"


METHODS: dict[str, Method] = {
    "nfopt search": nfopt_search,
    "sbi nsf": sbi_default("nsf"),
    "sbi zuko_nsf": sbi_default("zuko_nsf"),
    "sbi's Optuna guide": optuna_guide,
    "nfopt fit": nfopt_fit,
}


def members(posterior: Posterior) -> list[tuple[float, Posterior]]:
    """The shares and the parts of a posterior, which may be a mixture."""
    if hasattr(posterior, "posteriors"):
        return list(zip(posterior.weights.tolist(), posterior.posteriors, strict=True))
    return [(1.0, posterior)]


@torch.no_grad()
def log_prob(posterior: Posterior, theta: Tensor, x: Tensor) -> Tensor:
    """Log-density of each theta given its own x, shape (n,); what leaks from the prior counts."""
    parts = [
        torch.tensor(share).log() + one.posterior_estimator.log_prob(theta[None], x)[0].double()
        for share, one in members(posterior)
    ]
    return torch.stack(parts).logsumexp(0)
