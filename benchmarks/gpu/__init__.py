"""Tests and measurements for half an hour on a machine with a GPU but without network; see docs/gpu.md."""
