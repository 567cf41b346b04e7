"""Flows as posteriors of the package sbi, and as what sbi trains itself.

    posterior = search_posterior(theta, x, prior=prior, minutes=10)      # searched and trained
    posterior.sample((1000,), x=x_o)                                     # as sbi's own
    NPE(prior, density_estimator=builder()).append_simulations(theta, x).train()

Needs sbi: pip install 'nfopt[sbi]'. It is imported when a function is called, as that takes
seconds; `import sbi` below means that package.
"""

from __future__ import annotations

from nfopt.sbi.estimators import builder, to_posterior
from nfopt.sbi.search import search_posterior

__all__ = ["builder", "search_posterior", "to_posterior"]
