"""Posteriors of sbi from flows of nfopt, and flows of nfopt that sbi trains."""

from __future__ import annotations

import functools
import importlib.util
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

import nfopt
from nfopt.errors import DataError, DataWarning, ExportError, NfoptError
from nfopt.export import export_zuko
from nfopt.sbi import builder, search_posterior, to_posterior
from nfopt.sbi.simulations import read

needs_sbi = pytest.mark.skipif(
    importlib.util.find_spec("sbi") is None, reason="sbi is not installed"
)
Array = np.ndarray[Any, Any]
ROWS = 300


def simulations(seed: int = 0) -> tuple[Array, Array]:
    """theta ~ N(0, I) of two; x is theta with noise of 0.3, and a number that says nothing."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(ROWS, 2))
    noise = rng.normal(size=(ROWS, 3)) * [0.3, 0.3, 1.0]
    return theta, np.column_stack([theta, np.zeros(ROWS)]) + noise


def tensors(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    theta, x = simulations(seed)
    return torch.tensor(theta, dtype=torch.float32), torch.tensor(x, dtype=torch.float32)


# ------------------------------------------------------------------- what is given, without sbi


def test_columns_are_named_and_a_tenth_validates() -> None:
    data = read(*tensors()).table(seed=0)
    assert data.columns == ("theta_0", "theta_1")
    assert data.context_columns == ("x_0", "x_1", "x_2")
    assert data.sizes == (ROWS * 9 // 10, ROWS // 10, 0)
    swapped = read(*tensors(), likelihood=True).table(seed=0)
    assert (swapped.columns, swapped.context_columns) == (data.context_columns, data.columns)


def test_simulations_that_are_not_finite_are_left_out_and_counted() -> None:
    theta, x = simulations()
    x[3, 0], x[7, 2] = np.nan, np.inf
    with pytest.warns(DataWarning, match=r"^2 of 300 simulations are left out: `x` holds NaN"):
        found = read(theta, x)
    assert found.features.shape == (ROWS - 2, 2)
    kept = np.isfinite(x).all(axis=1)
    assert (found.context == x[kept]).all()
    assert (found.features == theta[kept]).all()


Change = Callable[[Array, Array], tuple[Any, Any]]
BAD: dict[str, tuple[Change, type[Exception], str]] = {
    "lengths": (
        lambda t, x: (t, x[:-1]),
        ValueError,
        "must have one row a simulation, got 300 and 299 rows",
    ),
    "one": (lambda t, x: (t[:1], x[:1]), ValueError, "at least 20 simulations, got 1"),
    "none_finite": (
        lambda t, x: (t, x * np.nan),
        ValueError,
        "at least 20 simulations, got 300, of which 0 are finite",
    ),
    "constant_theta": (
        lambda t, x: (t * [1, 0] + 4, x),
        DataError,
        r"`theta` must vary: column 1 \(counted from 0\) is 4 in all 300 simulations",
    ),
    "constant_x": (lambda t, x: (t, x * 0 + 2.5), DataError, "`x` must vary: column 0 .* is 2.5"),
    "flat": (lambda t, x: (t[:, 0], x), ValueError, r"`theta` must have one row .* shape \(300,\)"),
    "images": (lambda t, x: (t, x[:, None]), ValueError, "`x` must have one row a simulation"),
    "words": (lambda t, x: (t, x.astype(str).astype(object) + "a"), ValueError, "`x` must be numb"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_simulations_are_one_line(name: str) -> None:
    change, kind, words = BAD[name]
    with pytest.raises(kind, match=words) as caught:
        read(*change(*simulations()))
    assert "\n" not in str(caught.value)


def test_without_sbi_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sbi", None)
    for call in (builder, lambda: search_posterior(*simulations(), prior=None)):
        with pytest.raises(NfoptError, match=r"sbi is not installed.*pip install 'nfopt\[sbi\]'"):
            call()


@pytest.mark.slow
def test_importing_it_does_not_import_sbi() -> None:
    code = "import nfopt.sbi, sys; sys.exit('sbi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------------- with sbi


@pytest.fixture(scope="module")
def prior() -> Any:
    return torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, prior: Any) -> tuple[Any, nfopt.Flow]:
    """A posterior from a search, and the flow that the search saved."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out = tmp_path_factory.mktemp("flow") / "out"
    posterior = search_posterior(
        *tensors(),
        prior=prior,
        trials=2,
        space={"steps": 400, "width": 32, "depth": 2},
        storage=optuna.storages.InMemoryStorage(),
        out=out,
    )
    return posterior, nfopt.load(out)


def mixture(flow: nfopt.Flow) -> nfopt.Flow:
    """Two members of unequal shares: the flow, and the flow with other weights."""
    weights = flow.weights(0)
    moved = {name: weight * 0.9 for name, weight in weights.items()}
    return nfopt.Flow(
        [flow.specs[0]] * 2, [weights, moved], [flow.preprocessings[0]] * 2, shares=(0.7, 0.3)
    )


SHORT = 'trials=1, space={"steps": 30, "width": 16}'  # in place of minutes
X = torch.tensor([[0.5, -0.5, 0.0]])


@needs_sbi
@pytest.mark.slow
def test_a_searched_posterior_is_sbis_with_the_flows_density(
    searched: tuple[Any, nfopt.Flow], prior: Any
) -> None:
    from sbi.inference import DirectPosterior, EnsemblePosterior

    posterior, flow = searched
    assert isinstance(posterior, DirectPosterior if len(flow) == 1 else EnsemblePosterior)
    theta = prior.sample((50,))
    found = posterior.log_prob(theta, x=X, norm_posterior=False)
    wanted = flow.log_prob(theta.numpy(), X[0].numpy(), dtype="float64")
    assert found.detach().numpy() == pytest.approx(wanted, abs=1e-5)
    drawn = posterior.sample((2000,), x=X, show_progress_bars=False)
    assert drawn.dtype == torch.float32
    assert drawn.mean(0).numpy() == pytest.approx([0.46, -0.46], abs=0.15)
    copy = pickle.loads(pickle.dumps(posterior))
    assert torch.equal(copy.log_prob(theta, x=X, norm_posterior=False), found)


@needs_sbi
@pytest.mark.slow
def test_a_mixture_is_an_ensemble_with_its_shares(
    searched: tuple[Any, nfopt.Flow], prior: Any
) -> None:
    both = mixture(searched[1])
    posterior = to_posterior(both, prior)
    assert posterior.weights.tolist() == pytest.approx([0.7, 0.3])
    theta = prior.sample((50,))
    found = posterior.log_prob(theta, x=X, norm_posterior=False).detach().numpy()
    assert found == pytest.approx(both.log_prob(theta, X[0].numpy(), dtype="float64"), abs=1e-5)
    assert posterior.sample((7,), x=X, show_progress_bars=False).shape == (7, 2)
    assert posterior.map(x=X, num_iter=5, num_to_optimize=2).shape == (1, 2)


@needs_sbi
@pytest.mark.slow
@pytest.mark.parametrize("given", ["best", "searched", "spec"])
def test_sbi_trains_what_the_builder_makes(
    given: str,
    searched: tuple[Any, nfopt.Flow],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prior: Any,
) -> None:
    from sbi.inference import NPE

    monkeypatch.chdir(tmp_path)  # sbi writes its logs there
    flow = {"best": None, "searched": searched[1], "spec": searched[1].specs[0]}[given]
    make = builder(flow, seed=1)
    theta, x = tensors()
    fresh, again, other = make(theta, x), make(theta, x), builder(flow, seed=2)(theta, x)
    scores = [one.log_prob(theta[None, :5], x[:5]).detach() for one in (fresh, again, other)]
    assert scores[0].dtype == torch.float32
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])
    trainer = NPE(prior, density_estimator=make, show_progress_bars=False)
    with pytest.warns(UserWarning, match="not yet fully converged"):
        trained = trainer.append_simulations(theta, x).train(
            training_batch_size=50, learning_rate=2e-3, max_num_epochs=8
        )
    gain = trained.log_prob(theta[None], x).mean() - fresh.log_prob(theta[None], x).mean()
    assert gain > 0.3
    drawn = trainer.build_posterior().sample((100,), x=X, show_progress_bars=False)
    assert drawn.shape == (100, 2)
    if given == "searched":
        shapes = [
            {name: tensor.shape for name, tensor in net.state_dict().items()}
            for net in (fresh.net, export_zuko(flow, member=0))
        ]
        assert shapes[0] == shapes[1]


@needs_sbi
@pytest.mark.slow
def test_for_nle_the_roles_are_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prior: Any
) -> None:
    from sbi.inference import NLE

    monkeypatch.chdir(tmp_path)
    theta, x = tensors()
    trainer = NLE(prior, density_estimator=builder(likelihood=True), show_progress_bars=False)
    with pytest.warns(UserWarning, match="not yet fully converged"):
        trained = trainer.append_simulations(theta, x).train(max_num_epochs=2)
    assert (trained.input_shape, trained.condition_shape) == ((3,), (2,))
    assert trained.log_prob(x[None], theta).shape == (1, ROWS)


@needs_sbi
@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_any_work(
    searched: tuple[Any, nfopt.Flow], prior: Any
) -> None:
    flow = searched[1]
    of_three = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    for wrong, words in (
        (of_three, "`prior` must be over 2 parameters as theta, got 3"),
        (None, "`prior` must be a distribution of theta, got None"),
        ("box", "`prior` must be a distribution of theta, got 'box'"),
        (7, "`prior` must be a distribution that sbi takes"),
    ):
        for call in (
            lambda prior=wrong: to_posterior(flow, prior),
            lambda prior=wrong: search_posterior(*simulations(), prior=prior),
        ):
            with pytest.raises(ValueError, match=words) as caught:
                call()
            assert "\n" not in str(caught.value)
    for space, words in (
        ({"layers": ["coupling", "radial"]}, "`space` must be without layers of kind 'radial'"),
        (["maps=sinh_arcsinh"], "`space` must be without maps of kind 'sinh_arcsinh'"),
    ):
        with pytest.raises(ExportError, match=words):
            search_posterior(*simulations(), prior=prior, space=space)
    with pytest.raises(ValueError, match="`flow` must be conditional"):
        to_posterior(nfopt.Flow([nfopt.FlowSpec(features=2, layers=())], [{}], bare(flow)), prior)
    with pytest.raises(ValueError, match="`flow` must be for 2 features and 2 context columns"):
        builder(flow)(*(one[:, :2] for one in tensors()))


def bare(flow: nfopt.Flow) -> Any:
    """The preprocessing of a flow without its context."""
    from nfopt.data import Preprocessing

    return Preprocessing(columns=flow.preprocessing.columns, context=(), seed=0)


@needs_sbi
@pytest.mark.slow
def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sbi.inference import NLE, NPE

    page = (Path(__file__).parent.parent / "docs" / "sbi.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    for trainer in (NPE, NLE):
        short = functools.partialmethod(trainer.train, max_num_epochs=1)
        monkeypatch.setattr(trainer, "train", short)
    theta = 4 * torch.rand(100, 2) - 2
    names: dict[str, Any] = {"theta_new": theta, "x_new": theta + 0.3 * torch.randn(100, 2)}
    for block in blocks:
        exec(block.replace("minutes=0.5", SHORT), names)
    assert names["samples"].shape == (1000, 2)
    assert names["name"].startswith("all together")
