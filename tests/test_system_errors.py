"""What the operating system refuses, in our words: by its number, whoever raises it."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs

from distprop.errors import AccessError, ResourceError
from distprop.system_errors import REFUSED, SCARCE, explained, refusals, require_text, withheld


@pytest.mark.parametrize("number", sorted(SCARCE))
def test_what_a_machine_runs_out_of_is_no_wrong_input(number: int) -> None:
    told = explained(OSError(number, "x", "/there/a.txt"), "a.txt cannot be written")
    assert type(told) is ResourceError and told.why and told.fix


@pytest.mark.parametrize("number", sorted(REFUSED))
def test_what_a_path_is_refused_for_is_wrong_input_and_names_the_file(number: int) -> None:
    told = explained(OSError(number, "x", "/there/a.txt"), "the config cannot be written")
    assert type(told) is AccessError and told.why.endswith(": /there/a.txt") and told.fix


@pytest.mark.parametrize("number", sorted({*errno.errorcode} - {*SCARCE, *REFUSED})[::7])
def test_a_number_that_is_in_no_table_is_told_in_the_systems_words(number: int) -> None:
    assert os.strerror(number) in explained(OSError(number, "x"), "it cannot be read").why


def test_an_error_without_a_number_keeps_its_text() -> None:
    assert explained(OSError("of no kind"), "it cannot be read").why == "of no kind"


def test_a_name_is_not_said_twice() -> None:
    assert "a.txt" not in explained(OSError(errno.ENOSPC, "x", "a.txt"), "a.txt cannot be written").why


def test_pyarrow_says_the_number_too(tmp_path: Path) -> None:
    with pytest.raises(AccessError) as told, refusals("it cannot be read"):
        fs.LocalFileSystem().open_input_file(str(tmp_path / "gone")).close()
    assert told.value.why.startswith("there is no such file")
    assert explained(OSError("Error writing bytes. Detail: [errno 28] No space"), "x").why == "the disk is full"


def test_no_memory_is_told_whoever_asked_for_it() -> None:
    for error in (MemoryError(), pa.ArrowMemoryError("malloc of size 64 failed")):
        with pytest.raises(ResourceError, match="there is not enough memory"), refusals("it cannot be read"):
            raise error


def test_no_folder_for_temporary_files_is_told_as_that() -> None:
    text = "No usable temporary directory found in ['/none']"
    assert "TMPDIR" in explained(FileNotFoundError(errno.ENOENT, text), "x").fix


def test_a_damaged_file_is_not_taken_for_one_that_is_withheld() -> None:
    assert withheld(PermissionError(errno.EACCES, "x")) and withheld(MemoryError())
    assert not withheld(OSError("Couldn't deserialize thrift")) and not withheld(pa.ArrowInvalid("no magic bytes"))


@pytest.mark.parametrize("name", ["\udcff.parquet", "a\0b"])
def test_bytes_that_are_no_text_are_refused_as_a_path(name: str) -> None:
    with pytest.raises(AccessError, match="no text in UTF-8"):
        require_text(name)
    require_text("é/日本.parquet")
