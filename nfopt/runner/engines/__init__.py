"""Where a search runs its other workers: processes of this machine, or tasks of a Ray cluster."""
