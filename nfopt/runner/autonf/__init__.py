"""The differentiable search as a study: setup, objective, checkpoints, run."""
