"""Double the size of an image: ``python -m gsp_unroll enlarge``.

python examples/enlarge_image.py small.png large.png
python examples/enlarge_image.py --help
"""

from __future__ import annotations

import sys

from gsp_unroll.cli import main

if __name__ == "__main__":
    sys.exit(main(["enlarge", *sys.argv[1:]]))
