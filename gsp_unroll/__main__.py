"""Entry point of ``python -m gsp_unroll``."""

from __future__ import annotations

import sys

from gsp_unroll.cli import main

if __name__ == "__main__":
    sys.exit(main())
