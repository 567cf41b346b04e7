from __future__ import annotations

import numpy as np
import pytest
import torch

from nfopt.data import load, prepare, split
from nfopt.spec import TrainSpec
from nfopt.training import TrainData, train
from nfopt.training.batches import Batches

from .toys import CPU, SPEC, make_data, make_exact_stack, seeded


def test_an_epoch_shows_every_row_once() -> None:
    batches = Batches(12, 4, seed=0, device=CPU)
    first = torch.cat([batches.take() for _ in range(3)])
    second = torch.cat([batches.take() for _ in range(3)])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert first.tolist() != second.tolist()


def test_rows_left_over_wait_for_the_next_permutation() -> None:
    batches = Batches(10, 4, seed=0, device=CPU)
    taken = [batches.take() for _ in range(6)]
    assert all(len(batch) == len(set(batch.tolist())) == 4 for batch in taken)


def test_a_batch_is_never_larger_than_the_data() -> None:
    batches = Batches(5, 64, seed=0, device=CPU)
    assert sorted(batches.take().tolist()) == list(range(5))
    assert sorted(batches.take().tolist()) == list(range(5))


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 7])
def test_a_restored_stream_goes_on_in_the_middle_of_an_epoch(taken: int) -> None:
    batches, other = Batches(10, 3, seed=1, device=CPU), Batches(10, 3, seed=2, device=CPU)
    for _ in range(taken):
        batches.take()
    other.load_state(batches.state(), batches.position)
    copy = batches.copy()
    for _ in range(8):
        expected = batches.take()
        assert torch.equal(other.take(), expected)
        assert torch.equal(copy.take(), expected)


def test_a_batch_put_back_is_taken_again() -> None:
    batches = Batches(6, 3, seed=1, device=CPU)
    batches.take(), batches.take()
    first = batches.take()  # of a new epoch
    batches.put_back()
    assert torch.equal(batches.take(), first)


X = torch.zeros(5, 2)
ONE = X[:, 0]
WRONG = {
    "no rows": ({"x": X[:0], "val": X}, "`x`.*rows"),
    "no validation rows": ({"x": X, "val": X[:0]}, "`val`.*rows"),
    "a vector": ({"x": X[:, 0], "val": X}, "`x`.*shape"),
    "other width": ({"x": X, "val": X[:, :1]}, "`val` must have 2 columns"),
    "context of one part": ({"x": X, "val": X, "context": X}, "`context` and `val_context`"),
    "short weights": (
        {"x": X, "val": X, "weights": ONE[:2], "val_weights": ONE},
        "`weights`.*5 rows",
    ),
    "zero weights": (
        {"x": X, "val": X, "weights": ONE, "val_weights": ONE},
        "positive sum",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_data_that_does_not_fit_is_refused(name: str) -> None:
    arguments, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        TrainData(**arguments)


def test_a_prepared_table_brings_its_log_determinants() -> None:
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.gamma(2.0, size=(200, 2)), rng.normal(size=200)])
    read = load(values, context=["x2"], weights=rng.random(200), bounds={"x0": (0, None)})
    prepared = prepare(read, split(read, seed=0))
    data = TrainData.of(prepared)
    assert data.x.dtype == torch.float32
    assert data.x.shape == (160, 2)
    assert data.val.shape == (20, 2)
    assert data.context is not None
    assert data.context.shape == (160, 1)
    assert data.val_weights is not None
    assert data.val_weights.shape == (20,)
    np.testing.assert_array_equal(data.val_logdet, prepared.parts[1].logdet)


def test_members_under_maps_of_their_own_train_as_they_would_alone() -> None:
    rng = np.random.default_rng(0)
    read = load(np.exp(rng.normal(size=(300, 3))), context=None)
    prepared = prepare(read, split(read, seed=0))
    each = [TrainData.of(prepared.under(one)) for one in ("asinh", "standardise", "quantile")]
    which = [2, 0, 2]
    mixed = TrainData.mixed(each, which)
    assert mixed.x.shape == (2, 240, 3)  # only what is used
    assert mixed.rows == 240
    assert mixed.val_rows == 30
    x, context, weights = mixed.batch(torch.tensor([5, 1]))
    assert context is weights is None
    for row, number in enumerate(which):
        torch.testing.assert_close(x[row], each[number].x[[5, 1]])
        _, _, _, logdet = mixed.validation()
        assert logdet is not None
        torch.testing.assert_close(logdet[row], each[number].val_logdet)
    part = mixed.of_members([1])
    torch.testing.assert_close(part.validation()[0][0], each[0].val)
    assert TrainData.mixed(each, [1, 1]) is each[1]
    with pytest.raises(ValueError, match="`data` must have maps for each of 2 members, got 3"):
        train(make_exact_stack(2), SPEC, mixed, generator=seeded(0))
    spec = TrainSpec(steps=30, batch_size=64, learning_rate=0.01)
    together = train(make_exact_stack(3), spec, mixed, generator=seeded(0))
    for member, number in enumerate(which):
        stack = make_exact_stack(3).select([member])
        (alone,) = train(stack, spec, each[number], generator=seeded(0))
        assert together[member].nll == pytest.approx(alone.nll, abs=1e-5)
    assert len({round(result.nll, 3) for result in together}) > 1


def test_data_moves_as_a_whole() -> None:
    data = make_data(context=True).to("meta")
    assert {part.device.type for part in vars(data).values() if part is not None} == {"meta"}
