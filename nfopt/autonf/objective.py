"""What a differentiable search minimises: pure functions of paths, logits and log-densities.

A layer's option has the weight w = softmax(logits); a path through the layers has the weight W_k,
the product of its options' weights, and the density p_k (after Wang et al., AutoNF).

    mixture       L_O = -E log sum_k W_k p_k       the likelihood of the mixture of all paths
    upper bound   L_U = -E sum_k W_k log p_k       >= L_O by Jensen, equal where one W_k is 1

L_U is the expected NLL of a path drawn from the weights. It is linear in each layer's weights, so
for fixed flows some single path attains its minimum over all weights, also with a cost that is
linear in W; nothing is lost by making it discrete. L_O may have its minimum inside, and the most
likely path of that is worse. Neither statement holds for flows that go on training.

Shapes: logits (n, m) for n layers and m options, paths (K, n), log_p (K, B), weights of rows (B,).
A logit of -inf is an option that is ruled out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

MOST_PATHS = 256  # that an exact objective enumerates


def path_log_weights(logits: Tensor, paths: Tensor) -> Tensor:
    """Logarithm of W_k, shape (K,)."""
    return logits.log_softmax(1).gather(1, paths.T).sum(0)


def enumerate_paths(choices: Sequence[Sequence[int]]) -> Tensor:
    """List every path, shape (K, n), from the options that each layer still has."""
    paths = list(itertools.product(*choices))
    return torch.tensor(paths, dtype=torch.long).reshape(len(paths), len(choices))


def draw_paths(logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw paths independently from the weights, shape (count, n)."""
    weights = logits.detach().softmax(1).cpu()
    return torch.multinomial(weights, count, replacement=True, generator=generator).T.contiguous()


def fair_paths(choices: Sequence[Sequence[int]], generator: torch.Generator) -> Tensor:
    """Draw paths in which each layer's options come equally often (after FairNAS, Chu et al.).

    Returns:
        As many paths as the layer with the most options has; a layer with fewer begins again.
    """
    most = max(len(options) for options in choices)
    columns = []
    for options in choices:
        rounds = -(-most // len(options))
        order = [torch.randperm(len(options), generator=generator) for _ in range(rounds)]
        columns.append(torch.tensor(options)[torch.cat(order)[:most]])
    return torch.stack(columns, dim=1)


def row_mean(values: Tensor, rows: Tensor | None = None) -> Tensor:
    """Average over rows (the last axis), weighted where rows have weights."""
    if rows is None:
        return values.mean(-1)
    return (values * rows).sum(-1) / rows.sum()


def mixture(log_w: Tensor, log_p: Tensor, rows: Tensor | None = None) -> Tensor:
    """L_O over all paths, in nats a row; `log_w` (K,) must be those of every path."""
    return -row_mean((log_w.unsqueeze(1) + log_p).logsumexp(0), rows)


def upper_bound(log_w: Tensor, log_p: Tensor, rows: Tensor | None = None) -> Tensor:
    """L_U over all paths, in nats a row; `log_w` (K,) must be those of every path."""
    nll = -row_mean(log_p, rows)
    kept = log_w > -torch.inf  # 0 times the NLL of a path that is ruled out, were it infinite
    return (log_w[kept].exp() * nll[kept]).sum()


def reinforce(log_w: Tensor, values: Tensor) -> Tensor:
    """Surrogate whose gradient by the logits estimates that of the mean value, without bias.

    Each path is compared with the mean of the others (leave-one-out: Kool et al. 2019), which
    depends on none of its own choices.

    Args:
        log_w: Logarithm of the weights of K >= 2 paths drawn independently, shape (K,).
        values: Of the paths, shape (K,); constants.

    Raises:
        ValueError: If there is only one path.
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"`paths` must be at least 2 for the leave-one-out baseline, got {count}.")
    values = values.detach()
    others = (values.sum() - values) / (count - 1)
    return ((values - others) * log_w).mean()


def entropy(logits: Tensor) -> Tensor:
    """Entropy of each layer's weights in nats, shape (n,)."""
    log_w = logits.log_softmax(1)
    return -(log_w.exp() * log_w.clamp_min(torch.finfo(log_w.dtype).min)).sum(1)


def expected_cost(logits: Tensor, costs: Tensor) -> Tensor:
    """Expected cost of a path: sum over layers of w . c, in the unit of `costs` (m,)."""
    return (logits.softmax(1) @ costs.to(logits.dtype)).sum()
