"""Tests on a GPU; see conftest.py."""
