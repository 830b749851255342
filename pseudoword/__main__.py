"""python -m pseudoword: the same as the command `pseudoword`."""

import sys

from pseudoword.cli import main

sys.exit(main())
