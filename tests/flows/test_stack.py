"""What a stack is beside its layers: grouping, randomness, samples, moving, errors."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from nfopt.flows import Stack, build
from nfopt.flows.maps import AffineMap
from nfopt.spec import (
    LU,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Reverse,
    Spline,
    StudentT,
)

from .kinds import fresh, rows, trained

NET = Conditioner(width=8, hidden_layers=1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two(mask: str = "CT", context: int = 0) -> FlowSpec:
    layers = (Coupling(mask=mask, map=Spline(bins=4), conditioner=NET), LU())
    return FlowSpec(features=2, layers=layers, context_features=context)


def test_build_groups_what_has_equal_shapes() -> None:
    affine = FlowSpec(features=2, layers=(Coupling(mask="CT", conditioner=NET), LU()))
    stacks = build([two(), affine, two("TC"), affine, two()], seeded(0))
    assert [stack.positions for stack in stacks] == [(0, 2, 4), (1, 3)]
    assert stacks[0].specs == (two(), two("TC"), two())
    assert repr(stacks[1]).startswith("Stack(2 x affine coupling (1x8), lu on 2 features")


def test_a_members_weights_depend_on_its_own_generator_alone() -> None:
    wide = [FlowSpec(features=5, layers=(Coupling(mask=m),)) for m in ("CTTTT", "CCCCT", "CCTTI")]
    (together,) = build(wide, [seeded(1), seeded(2), seeded(3)])
    for member, spec in enumerate(wide):
        (single,) = build([spec], [seeded(member + 1)])
        for name, weight in single.weights(0).items():
            assert torch.equal(weight, together.weights(member)[name])
    (again,) = build(wide, seeded(8))
    (same,) = build(wide, seeded(8))
    assert torch.equal(again.theta, same.theta)
    assert not torch.equal(again.theta[0], build(wide, seeded(9))[0].theta[0])


def test_thirty_two_wide_members_are_built_quickly() -> None:
    generator = seeded(0)
    specs = []
    for _ in range(32):
        orders = [tuple(torch.randperm(64, generator=generator).tolist()) for _ in range(4)]
        specs.append(
            FlowSpec(
                features=64,
                layers=(
                    *(Autoregressive(order=order) for order in orders),
                    Coupling(mask="CT" * 32),
                ),
            )
        )
    started = time.process_time()
    (stack,) = build(specs, generator)
    assert time.process_time() - started < 5  # under one second on an idle machine
    assert len(stack) == 32


def test_precision_and_copies() -> None:
    stack = trained("mixed", 2)
    single = stack.to(dtype=torch.float32)
    assert single.theta.dtype == torch.float32
    assert single.theta.is_leaf
    assert single.positions == stack.positions
    copy = stack.to("cpu")
    with torch.no_grad():
        copy.theta += 1
    assert not torch.equal(copy.theta, stack.theta)


@pytest.mark.parametrize("kind", ["mixed", "mixed, student t"])
def test_samples_follow_the_density(kind: str) -> None:
    stack = trained(kind, 2)
    x = stack.sample(20_000, seeded(3))
    assert not x.requires_grad
    # E[p(x) / q(x)] over x from p is 1 wherever p = q; a box's share is its probability
    low, high = torch.tensor([-0.5, -0.8]).double(), torch.tensor([0.9, 0.4]).double()
    share = ((x > low) & (x < high)).all(-1).double().mean(1)
    count = 120
    axes = [low[k] + (torch.arange(count).double() + 0.5) / count * (high - low)[k] for k in (0, 1)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, 2)
    with torch.no_grad():
        wanted = stack.log_prob(grid).exp().mean(1) * (high - low).prod()
    assert ((share - wanted).abs() < 4 * (wanted * (1 - wanted) / 20_000).sqrt()).all()


def test_the_base_is_student_t() -> None:
    (stack,) = build([FlowSpec(features=1, base=StudentT(df=3.0))], seeded(0))
    x = stack.sample(100_000, seeded(1)).flatten().double()
    # quantiles of Student t with 3 degrees of freedom
    for probability, quantile in ((0.5, 0.0), (0.75, 0.7649), (0.95, 2.3534), (0.995, 5.8409)):
        share = float((x < quantile).double().mean())
        assert abs(share - probability) < 4 * (probability * (1 - probability) / 1e5) ** 0.5
    wanted = torch.distributions.StudentT(3.0).log_prob(x)
    assert (stack.log_prob(x.view(-1, 1).float())[0] - wanted).abs().max() < 1e-4


def test_a_generator_makes_draws_repeat() -> None:
    stack = fresh("mixed", 2, 2)
    given = rows(50, 2, 2)[1]
    assert given is not None
    first = stack.sample(50, seeded(5), given)
    assert torch.equal(first, stack.sample(50, seeded(5), given))
    assert not torch.equal(first, stack.sample(50, seeded(6), given))
    state = torch.get_rng_state()
    stack.sample(50, seeded(5), given)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["mixed", "autoregressive spline", "coupling spline"])
def test_rsample_differentiates_by_weights_and_context(kind: str) -> None:
    stack = fresh(kind, 2, 2)
    given = rows(30, 2, 2)[1]
    assert given is not None
    given.requires_grad_()
    x = stack.rsample(30, seeded(1), given)
    by_theta, by_context = torch.autograd.grad((x**2).sum(), (stack.theta, given))
    assert by_theta.isfinite().all()
    assert (by_context != 0).all()
    # along a direction, as finite differences have it
    direction = torch.randn(stack.theta.shape, generator=seeded(2), dtype=torch.float64)
    values = []
    for step in (1e-5, -1e-5):
        moved = stack.to()
        with torch.no_grad():
            moved.theta += step * direction
        values.append(float((moved.sample(30, seeded(1), given) ** 2).sum()))
    assert (by_theta * direction).sum().item() == pytest.approx(
        (values[0] - values[1]) / 2e-5, rel=1e-4
    )


def test_dropout_is_a_members_own() -> None:
    spec = FlowSpec(features=4, layers=(Coupling(mask="CTCT"), Coupling(mask="TCTC")))
    (stack,) = build([spec, spec], [seeded(0), seeded(0)])
    x = torch.randn(200, 4, generator=seeded(1))
    plain = stack.log_prob(x)
    rates = torch.tensor([0.0, 0.5])
    dropped = stack.log_prob(x, dropout=rates, generator=seeded(2))
    assert torch.equal(dropped[0], plain[0])
    assert (dropped[1] - plain[1]).abs().max() > 1e-4
    assert torch.equal(dropped, stack.log_prob(x, dropout=rates, generator=seeded(2)))


def test_a_structure_without_weights_works() -> None:
    (stack,) = build([FlowSpec(features=3, layers=(Reverse(),))] * 2, seeded(0))
    assert stack.theta.shape == (2, 0)
    x = torch.randn(5, 3, generator=seeded(1))
    assert torch.equal(stack.forward(x)[0][1], x.flip(1))
    assert stack.weights(0) == {}


def call(method: str, *shapes: tuple[int, ...] | None) -> Callable[[], object]:
    def run() -> object:
        stack = build([two(context=3)] * 2, seeded(0))[0]
        given = [None if shape is None else torch.zeros(shape) for shape in shapes]
        return getattr(stack, method)(*given)

    return run


def plain(shape: tuple[int, ...]) -> Callable[[], object]:
    return lambda: build([two()], seeded(0))[0].log_prob(torch.zeros(4, 2), torch.zeros(shape))


WRONG = [
    ("`x` must have shape (B, 2) or (2, B, 2), got (4, 3)", call("log_prob", (4, 3), (4, 3))),
    ("`x` must have shape (B, 2) or (2, B, 2), got (3, 4, 2)", call("forward", (3, 4, 2), (4, 3))),
    ("`x` must have shape (B, 2) or (2, B, 2), got (2,)", call("log_prob", (2,), (4, 3))),
    ("`z` must have shape (B, 2) or (2, B, 2), got (4, 5)", call("inverse", (4, 5), (4, 3))),
    ("`context` must have", call("log_prob", (4, 2), None)),
    ("`context` must have", call("log_prob", (4, 2), (4, 2))),
    ("`context` must have", call("log_prob", (4, 2), (3,))),
    ("`context` must have 4 rows, got shape (5, 3)", call("log_prob", (4, 2), (5, 3))),
    ("`context` must have 4 rows, got shape (5, 3)", call("inverse", (4, 2), (5, 3))),
    ("`context` must have no columns", plain((4, 1))),
    ("`generator` must be", lambda: build([two()], [seeded(0), seeded(1)])),
    ("`specs` must be", lambda: build([], seeded(0))),
    ("`specs` must be", lambda: Stack([two(), FlowSpec(features=2)])),
    ("`dtype` must be", lambda: build([two()], seeded(0), dtype=torch.int64)),
    ("`dropout` must have", lambda: dropout(torch.zeros(3))),
    ("`generator` must be", lambda: dropout(torch.zeros(1), None)),
    ("`weights`", lambda: build([two()], seeded(0))[0].load_weights(0, {})),
    ("`weights` '1.bias'", lambda: reload("1.bias", torch.zeros(3))),
]


def dropout(rates: torch.Tensor, generator: torch.Generator | None = seeded(0)) -> object:  # noqa: B008
    stack = build([two()], seeded(0))[0]
    return stack.log_prob(torch.zeros(4, 2), dropout=rates, generator=generator)


def reload(name: str, weight: torch.Tensor) -> None:
    stack = build([two()], seeded(0))[0]
    stack.load_weights(0, stack.weights(0) | {name: weight})


@pytest.mark.parametrize(("words", "act"), WRONG)
def test_wrong_shapes_are_one_line(words: str, act: Callable[[], object]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        act()
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_one_row_of_context_serves_all() -> None:
    stack = fresh("coupling affine", 2, 2)
    x, given = rows(20, 2, 2)
    assert given is not None
    one = stack.log_prob(x, given[:1])
    assert (one - stack.log_prob(x, given[:1].expand(20, -1))).abs().max() < 1e-12


def test_nobody_else_in_the_stack_matters_when_a_member_is_nan() -> None:
    specs = [
        FlowSpec(features=3, layers=(Elementwise(map=Affine()), Coupling(mask=m), LU()))
        for m in ("CTT", "CCT")
    ]
    (stack,) = build(specs, seeded(0))
    x = torch.randn(10, 3, generator=seeded(1))
    wanted = stack.log_prob(x)[1]
    with torch.no_grad():
        stack.theta[0] = float("nan")
    (grad,) = torch.autograd.grad(stack.log_prob(x).sum(), stack.theta)
    assert torch.equal(stack.log_prob(x)[1], wanted)
    assert grad[1].isfinite().all()


def test_an_autoregressive_inverse_computes_each_feature_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Members of different graphs: chains of 5 and of 2 features, padded to the same passes."""
    specs = [
        FlowSpec(features=5, layers=(Autoregressive(parents=parents, map=Affine()),))
        for parents in (((), (0,), (1,), (2,), (3,)), ((), (0,), (0,), (), (3,)))
    ]
    (stack,) = build(specs, [seeded(0), seeded(1)])
    stack.theta.detach().add_(0.3 * torch.randn(stack.theta.shape, generator=seeded(2)))
    x = torch.randn(7, 5, generator=seeded(3))
    z, _ = stack.forward(x)
    passes: list[int] = []
    undo = AffineMap.inverse

    def inverse(self: AffineMap, y: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        passes.append(y.shape[1])
        return undo(self, y, parameters)

    monkeypatch.setattr(AffineMap, "inverse", inverse)
    assert (stack.inverse(z) - x).abs().max() < 1e-5
    assert passes == [2, 3, 1, 1, 1]
