"""``python -m flowexpr`` is the command ``flowexpr``."""

import sys

from flowexpr.cli import main

if __name__ == "__main__":
    sys.exit(main())
