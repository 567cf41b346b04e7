"""Flows as scikit-learn estimators, beside `GaussianMixture` and `KernelDensity`.

    FlowDensity(minutes=2).fit(X).score_samples(X)       # the best known flow
    FlowSearch(minutes=10).fit(X).study_                 # one that is searched for
    FlowOutlier(contamination=0.05).fit_predict(X)       # -1 for what is not like the others

Needs scikit-learn: pip install 'nfopt[sklearn]'.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn
except ModuleNotFoundError:
    raise ImportError(
        "nfopt's estimators need scikit-learn: pip install 'nfopt[sklearn]'"
    ) from None

from nfopt.estimators.density import FlowDensity
from nfopt.estimators.outlier import FlowOutlier
from nfopt.estimators.search import FlowSearch

__all__ = ["FlowDensity", "FlowOutlier", "FlowSearch"]

del _sklearn
