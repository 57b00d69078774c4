"""Tables and JSON: what is printed and what is written."""

import json
import math
from pathlib import Path

from benchmarks.part import Report
from benchmarks.running import heading, page, write
from benchmarks.tables import plain, share, table, text

ABOUT = {
    "cpu": "A CPU",
    "cores": 2,
    "kernel": "haswell",
    "versions": {"numpy": "2.4.0"},
    "started": "2026-01-01T00:00:00Z",
    "load_before": 1.5,
    "package": "/somewhere/distprop",
    "compiled": True,
    "shared": True,
}


def test_numbers_show_three_digits_that_count() -> None:
    assert [text(value) for value in (123.456, 1.23456, 0.0123456, 1234.5, 0.0)] == [
        "123",
        "1.23",
        "0.0123",
        "1234",
        "0.0",
    ]


def test_whole_numbers_and_truths_are_readable() -> None:
    assert [text(value) for value in (10_000_000, True, False, "B")] == ["10 000 000", "yes", "no", "B"]


def test_what_is_not_there_is_a_dash() -> None:
    assert text(None) == text(math.nan) == "–"


def test_shares_are_per_cent() -> None:
    assert share(0.704) == "70 %"
    assert share(math.nan) is None


def test_a_table_is_markdown_with_lines_of_one_width() -> None:
    lines = table([{"case": "A", "ms": 1.5}, {"case": "long", "ms": 22.0}], {"case": "case", "ms": "ms"}).splitlines()
    assert lines[0].split() == ["|", "case", "|", "ms", "|"]
    assert set(lines[1]) == set("|-:")
    assert len({len(line) for line in lines}) == 1
    assert [line.count("|") for line in lines] == [3, 3, 3, 3]


def test_a_column_that_no_row_has_is_left_out() -> None:
    assert "DDP" not in table([{"a": 1, "b": None}], {"a": "ours", "b": "DDP"})


def test_numbers_that_json_has_not_become_null() -> None:
    assert plain({"a": math.nan, "b": [math.inf, 1.5], "c": ("x", None)}) == {
        "a": None,
        "b": [None, 1.5],
        "c": ["x", None],
    }


def test_a_file_has_the_machine_and_a_list_for_each_part_and_the_table_beside_it(tmp_path: Path) -> None:
    rows = [{"case": "A", "distprop_ms": 1.0, "ddp_ms": math.nan}]
    reports = {"steps": [Report("Steps", {"case": "case"}, rows), Report("More", {}, [{"case": "B"}])], "wire": []}
    write(tmp_path / "figures.json", reports, ABOUT)
    read = json.loads((tmp_path / "figures.json").read_text())
    assert read["machine"]["cores"] == 2
    assert read["steps"] == [{"case": "A", "distprop_ms": 1.0, "ddp_ms": None}, {"case": "B"}]
    assert read["wire"] == []
    assert "## Steps" in (tmp_path / "figures.md").read_text()


def test_a_page_says_which_package_was_measured() -> None:
    assert "distprop in /somewhere/distprop, its loops compiled." in heading(ABOUT)
    assert "its loops not compiled." in heading({**ABOUT, "compiled": False})


def test_a_page_says_whose_machine_it_was() -> None:
    assert "others were using this machine" in page({}, ABOUT)
    assert "the machine was quiet" in page({}, {**ABOUT, "shared": False})
