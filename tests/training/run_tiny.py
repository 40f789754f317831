"""Child process of the tests: `run_tiny.py CONFIG FOLDER [RANK STEP]`; signals itself at STEP."""

from __future__ import annotations

import os
import signal
import sys

import torch

from gsp_unroll.training import TrainingInterrupted, load_config, loop, train

torch.set_num_threads(1)


def _signal_at(step: int) -> None:
    original = loop._Trainer._step

    def interrupting(self, batch, done):
        original(self, batch, done)
        if self.now.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    loop._Trainer._step = interrupting


if __name__ == "__main__":
    config, folder, *at = sys.argv[1:]
    if at and os.environ.get("RANK", "0") == at[0]:
        _signal_at(int(at[1]))
    try:
        train(load_config(config), folder, resume=True)
    except TrainingInterrupted as stopped:
        print(stopped)
