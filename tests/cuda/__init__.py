"""Tests on a CUDA device; see device.py."""
