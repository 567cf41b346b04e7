"""nfopt beside its peers on the user's own table: the same rows, the same seconds, one thread."""
