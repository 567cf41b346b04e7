"""Adam against PyTorch's own, with leaves that a step leaves out."""

from __future__ import annotations

import torch

from nfopt.autonf.adam import Adam

from .toys import seeded


def test_it_is_adam() -> None:
    generator = seeded(0)
    start = [torch.randn(3, generator=generator), torch.randn(2, 4, generator=generator)]
    one, two = ([leaf.clone().requires_grad_() for leaf in start] for _ in range(2))
    ours, theirs = Adam(one, 0.02, (0.8, 0.99)), torch.optim.Adam(two, lr=0.02, betas=(0.8, 0.99))
    for step in range(20):
        for a, b in zip(one, two, strict=True):
            a.grad = None if step % 3 == len(a.shape) else torch.randn(a.shape, generator=generator)
            b.grad = None if a.grad is None else a.grad.clone()
        ours.rate = theirs.param_groups[0]["lr"] = 0.02 / (1 + step)
        ours.step()
        theirs.step()
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)
    ours.zero_grad()
    assert all(leaf.grad is None for leaf in one)


def test_it_goes_on_where_another_one_was() -> None:
    leaf = torch.zeros(3, requires_grad=True)
    first = Adam([leaf], 0.1)
    leaf.grad = torch.tensor([1.0, -2.0, 0.0])
    first.step()
    other = leaf.detach().clone().requires_grad_()
    second = Adam([other], 0.1)
    second.load(first.tensors())
    other.grad = leaf.grad.clone()
    first.step()
    second.step()
    assert torch.equal(leaf, other)
