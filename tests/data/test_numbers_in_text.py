"""CSV files as people have them: what is a number is read as one, and what is lost or left is said with its option."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from distprop.cli import main

NUMBERS = [f"{i}.5" for i in range(500)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("distprop.data.csv_files.BLOCK_BYTES", 1024)  # several blocks
    monkeypatch.setattr("distprop.data.importing.ROWS_PER_GROUP", 100)
    return tmp_path


def imported(cells: list[str], *options: str, between: str = ",") -> tuple[Any, str]:
    """The column of a file with one more column, and what was printed about it."""
    lines = [f'"{cell}"{between}{i}' for i, cell in enumerate(cells)]
    Path("rows.csv").write_text("\n".join([f"a{between}n", *lines, ""]))
    done = CliRunner().invoke(main, ["import", "rows.csv", "--out", "out", *options])
    assert done.exit_code == 0, done.output
    table = pq.read_table("out/rows.parquet")
    assert table["n"].to_pylist() == list(range(len(cells)))
    assert [path.name for path in Path("out").iterdir()] == ["rows.parquet"]
    return table["a"], done.stderr


def at(cells: list[str], **changed: str) -> list[str]:
    return [changed.get(f"row{i}", cell) for i, cell in enumerate(cells)]


def test_one_odd_cell_among_numbers_is_null_with_a_count() -> None:
    column, said = imported(at(NUMBERS, row317="unknown"))
    assert (str(column.type), column.null_count, column[317].as_py()) == ("double", 1, None)
    assert "column 'a': 1 of its 500 cells became null, as 'unknown' in row 317 is no number" in said
    assert "`--text a`" in said
    column, _ = imported(at(NUMBERS, row317="unknown"), "--text", "a")
    assert (str(column.type), column[317].as_py()) == ("string", "unknown")


@pytest.mark.parametrize("odd", [["-"] * 3, ["n/k", "?", "see note"], ["1.2.3"]])
def test_few_odd_cells_of_whole_numbers_leave_whole_numbers(odd: list[str]) -> None:
    column, said = imported([*odd, *map(str, range(400))])
    assert (str(column.type), column.null_count) == ("int64", len(odd))
    assert f"{len(odd)} of its {400 + len(odd)} cells" in said


def test_many_odd_cells_stay_text_until_they_are_named() -> None:
    cells = [text for i in range(100) for text in (str(i), "none given")]
    column, said = imported(cells)
    assert str(column.type) == "string"
    assert "stays text: 100 of its 200 cells are no numbers, as 'none given' in row 1" in said
    assert "`--null 'none given'`" in said
    column, said = imported(cells, "--null", "none given")
    assert (str(column.type), column.null_count, said.count("column 'a'")) == ("int64", 100, 0)


def test_text_is_text_without_a_word() -> None:
    for cells in (
        ["Rome", "Oslo"] * 50,
        ["A1", "7"] * 3 + ["B2", "C3", "D4"] * 50,
        [f"{i}-01-2020x" for i in range(40)],
    ):
        column, said = imported(cells)
        assert str(column.type) == "string"
        assert "column 'a'" not in said


SEPARATED = [
    (["6,000.50", "12.5", "1,234,567"], "'6,000.50' in row 0 has groups of thousands", ["--thousands", ","],
     [6000.5, 12.5, 1234567.0]),
    (["6,000", "12", "7"], "'6,000' in row 0 has groups of thousands", ["--thousands", ","], [6000, 12, 7]),
    (["3,14", "2,5", "7"], "'3,14' in row 0 has a decimal comma", ["--decimal", ","], [3.14, 2.5, 7.0]),
    (["6.000,50", "2,5", "7"], "'6.000,50' in row 0 has a decimal comma", ["--decimal", ",", "--thousands", "."],
     [6000.5, 2.5, 7.0]),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "said", "options", "values"), SEPARATED, ids=[said for _, said, *_ in SEPARATED])
def test_numbers_with_separators_are_told_with_the_option_that_reads_them(
    cells: list[str], said: str, options: list[str], values: list[float]
) -> None:
    for between in ",;":
        column, told = imported(cells * 10, between=between)
        assert str(column.type) == "string"
        assert said in told
        assert f"`{' '.join(options)}`" in told
        column, told = imported(cells * 10, *options, between=between)
        assert column.to_pylist() == values * 10
        assert "column 'a'" not in told


@pytest.mark.parametrize("cells", [["01005", "90210"], ["10001", "", "00501"], ["007", "1.5"]])
def test_leading_zeros_that_numbers_lose_are_told(cells: list[str]) -> None:
    column, said = imported(["12345"] * 150 + cells)
    assert str(column.type) in ("int64", "double")
    zero = next(cell for cell in cells if cell.startswith("0"))
    assert f"{zero!r} in row {150 + cells.index(zero)} loses its leading zero; `--text a` keeps it as text" in said
    column, said = imported(["12345"] * 150 + cells, "--text", "a")
    assert column.to_pylist()[150:] == [cell or None for cell in cells]
    assert "leading zero" not in said


def test_codes_with_leading_zeros_beside_an_odd_one_stay_text() -> None:
    column, said = imported(["01005"] * 99 + ["abroad"])
    assert column.to_pylist() == ["01005"] * 99 + ["abroad"]
    assert "became null" not in said


@pytest.mark.parametrize("between", [";", "\t", "|"])
def test_columns_are_told_apart_by_what_stands_between_them(between: str) -> None:
    column, said = imported(["1", "2", "3"], between=between)
    assert column.to_pylist() == [1, 2, 3]
    assert f"columns are separated by {between!r}" in said
    _, said = imported(["1", "2", "3"], between=",")
    assert "separated" not in said


def test_a_delimiter_is_taken_as_it_is_said_and_quotes_hide_others() -> None:
    Path("rows.csv").write_text('a,b\n"1;2;3","x,y"\n"4;5;6","z;;"\n')
    assert CliRunner().invoke(main, ["import", "rows.csv", "--out", "out"]).exit_code == 0
    assert pq.read_table("out/rows.parquet")["b"].to_pylist() == ["x,y", "z;;"]
    Path("rows.csv").write_text("a:b\n1:2\n")
    assert CliRunner().invoke(main, ["import", "rows.csv", "--out", "out", "--delimiter", ":"]).exit_code == 0
    assert pq.read_table("out/rows.parquet").column_names == ["a", "b"]
    wrong = CliRunner().invoke(main, ["import", "rows.csv", "--out", "out", "--text", "c", "--delimiter", ":"])
    assert (wrong.exit_code, "--text names 'c'" in wrong.stderr) == (2, True)


def test_two_files_that_would_become_one_are_refused(here: Path) -> None:
    for place in ("x", "y"):
        (here / "in" / place).mkdir(parents=True)
        (here / "in" / place / "a.csv").write_text("n\n1\n")
    done = CliRunner().invoke(main, ["import", "in", "--out", "out"])
    assert (done.exit_code, "would both become a.parquet" in done.stderr) == (2, True)
    assert not Path("out").exists()


def test_files_that_import_leaves_out_are_told(here: Path) -> None:
    (here / "in").mkdir()
    (here / "in" / "a.csv").write_text("n\n1\n")
    (here / "in" / "b.xlsx").write_bytes(b"PK")
    assert (
        "left out: 1 files of another kind (b.xlsx)"
        in CliRunner().invoke(main, ["import", "in", "--out", "out"]).stderr
    )
