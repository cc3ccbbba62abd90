"""`python -m pose2seg`: the command line, for when its script is not on the PATH."""

import sys

from pose2seg.commands.cli import main

sys.exit(main())
