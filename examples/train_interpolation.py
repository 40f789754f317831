"""Train a network that doubles the resolution of luma from every second pixel, and judge it.

    python examples/train_interpolation.py --config configs/ugtv_interpolate.yaml --demo
    python examples/train_interpolation.py --config configs/uglr_interpolate.yaml --data DIV2K/

Without --data it trains on photographs that ship with scikit-image and reports on others of them.
The run folder then holds weights, logs, the table as CSV and JSON, and a picture. Published tables
use a bicubic interpolation that is shifted by half a pixel: both kinds are in the table.
"""

from __future__ import annotations

# The script beside this one. They differ in what is trained when nothing is said.
from train_demosaic import main

if __name__ == "__main__":
    main(__doc__, "configs/ugtv_interpolate.yaml")
