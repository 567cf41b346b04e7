"""What a study is: its data, candidates, attributes, weights, ranking, sampler and objective."""
