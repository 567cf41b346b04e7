"""Which offspring to train: a Gaussian process on letters and coverage, and its acquisition."""
