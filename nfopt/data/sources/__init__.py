"""All that a table may come from: files of each kind, and what a Python user holds."""
