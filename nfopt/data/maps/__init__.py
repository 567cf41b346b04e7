"""From the data to what a flow sees, a column at a time: bounds, ties, marginal maps."""
