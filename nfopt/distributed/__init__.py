"""What lets several processes share a study: leases, the queue, artifacts, checkpoints."""
