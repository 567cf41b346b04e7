"""The job: a search from a table to a delivered flow, over workers and resumes."""
