"""Benchmarks of every op against other implementations, which are first checked to agree.

`pytest benchmarks/` times the cases one by one; `python -m benchmarks.report` alternates between the
implementations of each case and writes docs/benchmarks.md.
"""

import sys
from pathlib import Path

# Python looks for modules in the checkout first, where an extension may not have been built. Look there last,
# so that an installed package is measured.
_CHECKOUT = Path(__file__).resolve().parents[1]
_found = [folder for folder in sys.path if Path(folder).resolve() == _CHECKOUT]
sys.path[:] = [folder for folder in sys.path if folder not in _found] + [str(_CHECKOUT)]
