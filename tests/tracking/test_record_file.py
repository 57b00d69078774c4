"""A file of lines that goes on in memory while its disk is full."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.tracking import record_file
from distprop.tracking.record_file import RecordFile


class Disk:
    """Writes as the real one does while it has room; then half of a line, and an error."""

    def __init__(self):
        self.full, self.write = False, record_file._write_all

    def __call__(self, file, line, offset):
        if self.full:
            self.write(file, line[: len(line) // 2], offset)
            raise OSError(28, "No space left on device")
        self.write(file, line, offset)


@pytest.fixture
def disk(monkeypatch):
    made = Disk()
    monkeypatch.setattr(record_file, "_write_all", made)
    return made


def test_memory_has_a_limit_and_a_line_beyond_it_is_not_added(disk, tmp_path, monkeypatch):
    monkeypatch.setattr(record_file, "MOST_MEMORY", 10)
    disk.full = True
    file = RecordFile(tmp_path / "lines")
    file.append(b"1234\n")
    file.append(b"5678\n")
    with pytest.raises(OSError, match="No space"):
        file.append(b"9\n")
    assert ([line for line, _ in file.lines(0)], file.unsaved) == ([b"1234\n", b"5678\n"], 2)
    disk.full = False
    file.append(b"9\n")
    file.close()
    assert (tmp_path / "lines").read_bytes() == b"1234\n5678\n9\n"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["append", "full", "room", "read", "reopen"]), max_size=40))
def test_whatever_the_disk_does_each_line_is_read_once_in_order(tmp_path_factory, happenings):
    path, disk = tmp_path_factory.mktemp("lines") / "lines", Disk()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_file, "_write_all", disk)
        file, written, read, offset = RecordFile(path), 0, [], 0
        for happening in happenings:
            if happening == "append":
                file.append(b"%d\n" % written)
                written += 1
            elif happening == "read":
                for line, end in list(file.lines(offset))[:2]:
                    read.append(int(line))
                    offset = end
                file.forget(offset)
            elif happening == "reopen" and not disk.full:
                file.close()
                file = RecordFile(path, offset)
            else:
                disk.full = happening == "full"
        read += [int(line) for line, _ in file.lines(offset)]
        file.close()
    assert read == list(range(written))


def test_a_line_that_a_dead_process_had_in_memory_was_read_or_is_gone_but_never_torn(disk, tmp_path):
    file = RecordFile(tmp_path / "lines")
    file.append(b"1\n")
    disk.full = True
    file.append(b"2345678\n")
    again = tmp_path / "copy"
    again.write_bytes((tmp_path / "lines").read_bytes())
    assert again.read_bytes() == b"1\n2345"
    left = RecordFile(again)
    assert [line for line, _ in left.lines(0)] == [b"1\n"]
    left.close()
    file.close()
