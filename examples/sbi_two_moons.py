"""The posterior of a simulator with two moons, found by a short search and checked for calibration.

pip install 'nfopt[sbi]'
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from sbi.utils import BoxUniform

import nfopt
from nfopt.calibration import calibrate
from nfopt.sbi import search_posterior

OUT = Path("two-moons")


def simulate(theta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A crescent that |theta_0 + theta_1| moves to the left and theta_1 - theta_0 upwards."""
    count = len(theta)
    angle = math.pi * (torch.rand(count, generator=generator) - 0.5)
    radius = 0.1 + 0.01 * torch.randn(count, generator=generator)
    crescent = torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], 1)
    moved = torch.stack([-(theta[:, 0] + theta[:, 1]).abs(), theta[:, 1] - theta[:, 0]], 1)
    return crescent + moved / math.sqrt(2)


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    prior = BoxUniform(-torch.ones(2), torch.ones(2))
    theta = 2 * torch.rand(3000, 2, generator=generator) - 1  # from the prior
    x = simulate(theta, generator)

    posterior = search_posterior(theta[:2500], x[:2500], prior=prior, minutes=0.5, out=OUT)
    samples = posterior.sample((2000,), x=torch.zeros(2), show_progress_bars=False)
    left = float((samples.sum(1) < 0).float().mean())
    print(f"given x = (0, 0), {left:.0%} of the samples lie on one moon and the rest on the other")

    flow = nfopt.load(OUT)
    for name, test in calibrate(flow, theta[2500:], x[2500:]).tests().items():
        print(f"{name}: p = {test.p_value:.2f}, spread {test.spread:.2f} (1 where it is exact)")


if __name__ == "__main__":
    main()
