"""The table of memory: what arrays explain, what a process has anyway, and the rest."""

from benchmarks.memory import lines


def test_a_host_has_its_processes_memory_and_what_neither_arrays_nor_python_explain() -> None:
    server = {"private_mb": 90.0, "shared_mb": 50.0, "pss_mb": 100.0}
    worker = {"private_mb": 30.0, "shared_mb": 20.0, "pss_mb": 40.0}
    rows = lines(2_000_000, [("server", server), ("worker", worker), ("worker", worker)], {"server": 50, "worker": 30})
    assert [row["process"] for row in rows] == ["server", "worker", "worker", "host"]
    assert [row["expected_mb"] for row in rows] == [48.0, 8.0, 8.0, 64.0]  # weights and state of Adam twice, a gradient
    host = rows[-1]
    assert (host["pss_mb"], host["base_mb"], host["beyond_mb"]) == (180.0, 110, 6.0)
