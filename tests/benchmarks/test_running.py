"""The command line of the benchmarks, and a tiny run of parts that need no cluster."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import data, machine, running
from benchmarks.part import Report, Settings

QUIET = Settings(quick=True, say=lambda _: None)


def test_a_part_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        running.main(["stpes"])
    assert "there is no part stpes" in capsys.readouterr().err


def test_everything_is_measured_unless_parts_are_named() -> None:
    asked = running.parser().parse_args(["--quick"])
    assert (asked.parts, asked.cases, asked.quick) == ([], ["A", "B", "C", "D", "E"], True)


def test_what_was_measured_is_on_disk_when_a_later_part_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Settings) -> list[Report]:
        raise RuntimeError("no")

    monkeypatch.setattr("benchmarks.data.measure", lambda _: [Report("Data", {"a": "a"}, [{"a": 1}])])
    monkeypatch.setattr("benchmarks.start.measure", fail)
    with pytest.raises(RuntimeError):
        running.main(["data", "start", "--json", str(tmp_path / "figures.json")])
    assert '"data"' in (tmp_path / "figures.json").read_text()
    assert "## Data" in capsys.readouterr().out


def test_tables_of_numbers_and_images_are_what_the_scan_sees(tmp_path: Path) -> None:
    pq.write_table(data.images_table(300), tmp_path / "images.parquet", row_group_size=100)
    assert data.scan(tmp_path / "images.parquet") == 300
    assert data.numbers_table(10).num_columns == 41


def test_rows_a_second_are_measured_from_a_file(tmp_path: Path) -> None:
    pq.write_table(data.images_table(1000), tmp_path / "images.parquet", row_group_size=500)
    row = data._row("images", tmp_path / "images.parquet", {"image": {"scale": 1.0}}, QUIET)
    assert row["rows"] == 1000
    assert row["distprop_rows_per_second"] > 0
    assert row["share"] == pytest.approx(row["distprop_rows_per_second"] / row["scan_rows_per_second"])


def test_mnist_is_left_out_with_a_reason_where_it_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATA", str(tmp_path))
    assert "set DATA" in data._mnist(QUIET)["skipped"]


def test_the_machine_is_described() -> None:
    about = machine.describe()
    assert about["cores"] >= 1
    assert "numpy" in about["versions"]
    assert machine.loopback_bytes() >= 0
