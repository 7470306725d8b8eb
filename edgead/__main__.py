"""``python -m edgead``."""

import sys

from edgead.cli import main

sys.exit(main())
