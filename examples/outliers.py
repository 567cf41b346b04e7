"""Labelled outliers: a flow beside an isolation forest and mixtures, and where it fails."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nfopt
from nfopt.errors import DataWarning

warnings.simplefilter("ignore", DataWarning)  # these tables are small

cancer, digits = load_breast_cancer(), load_digits()
pixels = digits.data[:, (digits.data != 0).sum(axis=0) > 20]  # others are black in nearly all rows
TABLES = {  # rows, and which of them are outliers
    "malignant among benign": (cancer.data, cancer.target == 0),
    "digit 0 among others": (pixels, digits.target == 0),
    "digit 1 among others": (pixels, digits.target == 1),
}


def mixture(components: int):
    model = GaussianMixture(components, reg_covar=1e-3, random_state=0)
    return make_pipeline(StandardScaler(), model)


print("AUC: 1 tells all outliers from the other rows, 0.5 is a coin, below it they look normal")
for name, (rows, outlier) in TABLES.items():
    # half of the normal rows train, unlabelled outliers are in none of them
    normal = np.random.default_rng(0).permutation(np.flatnonzero(~outlier))
    train, rest = rows[normal[: len(normal) // 2]], rows[normal[len(normal) // 2 :]]
    seen = np.concatenate([rest, rows[outlier]])
    labels = np.repeat([1, 0], [len(rest), outlier.sum()])  # scores are high for normal rows

    flow = nfopt.FlowOutlier(max_steps=100, random_state=0).fit(train)
    scores = {
        "isolation forest": IsolationForest(random_state=0).fit(train).score_samples(seen),
        "one Gaussian": mixture(1).fit(train).score_samples(seen),
        "three Gaussians": mixture(3).fit(train).score_samples(seen),
        "flow, likelihood": flow.score_samples(seen),
        "flow, typicality": flow.set_params(method="typicality").score_samples(seen),
    }
    print(f"\n{name}: {train.shape[1]} columns, {len(train)} rows train")
    for method, score in scores.items():
        print(f"  {method:18}{roc_auc_score(labels, score):.3f}")
    likely = scores["flow, likelihood"][labels == 0] > flow.center_
    print(f"  {100 * likely.mean():.0f}% of the outliers are likelier than half of the normal rows")
