"""Figures are written whole or not at all."""

import argparse

import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from gsp_unroll.plotting.save import figure_path, save_figure


def test_a_figure_is_written_in_the_format_of_its_name(tmp_path):
    figure = Figure()
    assert save_figure(figure, tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert save_figure(figure, tmp_path / "a.PDF").read_bytes().startswith(b"%PDF")


def test_what_was_there_stays_if_drawing_fails(tmp_path, monkeypatch):
    path = save_figure(Figure(), tmp_path / "a.png")
    before = path.read_bytes()

    def fails(self, file, **options):
        file.write(b"half")
        raise MemoryError

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(MemoryError):
        save_figure(Figure(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_an_ending_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in one of .*png.*, got 'a\.foo'"):
        save_figure(Figure(), tmp_path / "a.foo")


def test_a_command_refuses_an_ending_before_its_work():
    assert figure_path("runs/a.png").name == "a.png"
    with pytest.raises(argparse.ArgumentTypeError, match=r"must end in one of .*, got 'a\.foo'"):
        figure_path("a.foo")
