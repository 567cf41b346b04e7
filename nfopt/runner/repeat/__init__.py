"""A delivered flow is made again from what its flow.json says."""
