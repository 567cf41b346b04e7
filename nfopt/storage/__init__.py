"""Optuna storages: opened by URL, retried when they go away, their errors in plain words."""
