from __future__ import annotations

import logging
from pathlib import Path

import pytest
from training_helpers import tiny_config

from gsp_unroll.training import command as command_module
from gsp_unroll.training.command import Command, parse_arguments, run
from gsp_unroll.training.interrupt import TrainingInterrupted
from gsp_unroll.training.loop import TrainingDiverged

CONFIG = str(Path(__file__).parents[2] / "configs" / "ugtv.yaml")


def _parse(*arguments):
    return parse_arguments("text", CONFIG, arguments)


def test_defaults():
    command = _parse()
    assert command.out == Path("runs/ugtv")
    assert not command.resume
    assert command.test is None
    assert command.config.model.blocks == 5
    assert command.config.data.folder is None
    assert command.config.train.max_minutes is None


def test_every_argument(tmp_path):
    folder = tmp_path / "a folder: with 'signs'"
    command = _parse(
        *["--data", str(folder), "--test", "t", "--out", "o", "--resume", "--demo"],
        *[
            "--max-minutes",
            "2.5",
            "--set",
            "train.lr=1e-4",
            "data.patch=32",
            "--set",
            "train.seed=7",
        ],
    )
    config = command.config
    assert config.data.folder == str(folder)
    assert (command.test, command.out, command.resume) == (Path("t"), Path("o"), True)
    assert config.model.blocks < 5
    assert config.train.max_minutes == 2.5
    assert (config.train.lr, config.data.patch, config.train.seed) == (1e-4, 32, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "train.lrr=1"], "did you mean 'train.lr'"),
        (["--set", "train.lr=fast"], "train.lr must be a number"),
        (["--max-minutes", "-1"], "max_minutes must be "),
        (["--config", "none.yaml"], "cannot read the configuration none.yaml"),
        (["--dat", "x", "--zzz"], "unrecognized arguments: --zzz"),
    ],
)
def test_mistakes_are_named_with_exit_code_two(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        _parse(*arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TrainingInterrupted("stopped by SIGINT", 2), 130),
        (TrainingDiverged("too many"), 1),
        (ValueError("bad input"), 2),
        (ImportError("no engine"), 2),
        (PermissionError("no entry"), 2),
    ],
)
def test_endings_become_messages_and_exit_codes(error, code, tmp_path, monkeypatch, caplog):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(command_module, "train", fail)
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as caught:
        run(Command(tiny_config(), tmp_path, False, None))
    assert caught.value.code == code
    assert str(error) in caplog.text


def test_a_missing_folder_ends_with_a_message(tmp_path, caplog):
    with pytest.raises(SystemExit) as caught:
        run(Command(tiny_config(tmp_path / "nowhere"), tmp_path / "run", False, None))
    assert caught.value.code == 2
    assert "nowhere does not exist" in caplog.text
