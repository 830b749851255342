"""python -m pseudoword: the same as the command `pseudoword`."""

import sys

from app.cli import main

sys.exit(main())
