from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gsp_unroll.files import check_can_write, write_atomically


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.bin"
    assert write_atomically(path, b"one") == path
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["b.bin"]


def test_permissions_are_those_of_a_plain_open(tmp_path):
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "atomic", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")

    def full(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]  # noqa: PTH208


def test_what_cannot_be_written_is_known_before(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    check_can_write(file)
    check_can_write(tmp_path / "new" / "folder" / "file")
    assert not (tmp_path / "new").exists()
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        check_can_write(tmp_path)
    with pytest.raises(NotADirectoryError, match=r"file is a file, not a folder"):
        check_can_write(file / "inside")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_known_before(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match="is not writable"):
        check_can_write(tmp_path / "file")
