"""Benchmarks of every op against other implementations, which are first checked to agree.

`pytest benchmarks/` times the cases one by one; `python -m benchmarks.report` alternates between the
implementations of each case and writes docs/benchmarks.md.
"""
