"""Every op against others that compute the same: checked to agree, then timed side by side.

`pytest benchmarks/` times the contests one by one; `python -m benchmarks.report` alternates the contenders of
each and writes docs/benchmarks.md.
"""
