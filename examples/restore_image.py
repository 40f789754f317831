"""Demosaick a photograph, a mosaic or a raw file: ``python -m gsp_unroll restore``.

python examples/restore_image.py photo.png out.png
python examples/restore_image.py --help   # mosaics, raw files, noise, memory
"""

from __future__ import annotations

import sys

from gsp_unroll.cli import main

if __name__ == "__main__":
    sys.exit(main(["restore", *sys.argv[1:]]))
