import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import CheckpointError
from distprop.tracking.spool import RECORDS, Spool, SpoolJob, find, find_all

JOB = SpoolJob("http://x", "exp", "name", "token", 1, "run-7")


def record(number):
    return {"kind": "tags", "tags": {"n": str(number)}}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spools" / "one"


@pytest.fixture
def opened():
    """Closes the spools that a test appends to it."""
    spools = []
    yield lambda spool: spools.append(spool) or spool
    for spool in spools:
        spool.close()


def numbers(spool):
    return [int(line.record["tags"]["n"]) for line in spool.pending()]


def test_records_wait_in_order_until_they_are_acknowledged(folder, opened):
    spool = opened(Spool.create(folder, JOB))
    for number in range(5):
        spool.append(record(number))
    lines = list(spool.pending(2))
    assert [line.record["tags"]["n"] for line in lines] == ["0", "1"]
    spool.acknowledge(lines[-1].end, 2)
    assert numbers(spool) == [2, 3, 4]
    assert not spool.empty
    assert (spool.records, spool.delivered.records) == (5, 2)


def test_another_process_finds_what_was_left(folder, opened):
    spool = Spool.create(folder, JOB)
    for number in range(3):
        spool.append(record(number))
    spool.acknowledge(next(spool.pending(1)).end, 1)
    spool.remember(run_id="run-7", model_uri="models:/m-1")
    spool.close()
    again = opened(Spool.open(folder))
    assert again.job == JOB
    assert (again.delivered.run_id, again.delivered.model_uri, again.records) == ("run-7", "models:/m-1", 3)
    assert numbers(again) == [1, 2]
    again.append(record(3))
    assert numbers(again) == [1, 2, 3]


@pytest.mark.parametrize("torn", [b"{", b'{"kind":"tags","ta', b'{"kind":"tags"}'])
def test_half_a_line_of_a_process_that_died_is_dropped(folder, opened, torn):
    spool = Spool.create(folder, JOB)
    spool.append(record(0))
    spool.close()
    with (folder / RECORDS).open("ab") as file:
        file.write(torn)
    again = opened(Spool.open(folder))
    again.append(record(1))
    assert numbers(again) == [0, 1]


def test_a_line_that_is_still_being_written_is_left_for_later(folder, opened):
    spool = opened(Spool.create(folder, JOB))
    spool.append(record(0))
    with (folder / RECORDS).open("ab") as file:
        file.write(b'{"kind":"tags","tags":')
        file.flush()
        assert numbers(spool) == [0]
        file.write(b'{"n":"1"}}\n')
    assert numbers(spool) == [0, 1]


def test_a_spool_in_use_is_not_opened_twice(folder):
    spool = Spool.create(folder, JOB)
    with pytest.raises(CheckpointError, match="in use"):
        Spool.open(folder)
    spool.close()
    Spool.open(folder).close()


def test_what_is_no_spool_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no spool"):
        Spool.open(tmp_path)


def test_a_spool_is_found_by_token_and_by_either_run_id(folder):
    spool = Spool.create(folder, JOB)
    spool.remember(run_id="run-8")
    spool.close()
    assert {find(folder.parent, name) for name in ("token", "run-7", "run-8")} == {folder}
    assert find(folder.parent, "run-9") is None
    assert find(folder / "nowhere", "run-7") is None


def test_not_a_number_survives(folder, opened):
    spool = opened(Spool.create(folder, JOB))
    spool.append({"kind": "points", "metrics": {"a": float("nan"), "b": float("inf")}})
    (line,) = spool.pending()
    assert str(line.record["metrics"]) == "{'a': nan, 'b': inf}"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.just("append"), st.integers(1, 4), st.just("reopen")), max_size=30))
def test_whatever_happens_between_each_record_is_read_once_in_order(tmp_path_factory, happenings):
    folder = tmp_path_factory.mktemp("spools") / "one"
    spool = Spool.create(folder, JOB)
    written, read = 0, []
    for happening in happenings:
        if happening == "append":
            spool.append(record(written))
            written += 1
        elif happening == "reopen":
            spool.close()
            spool = Spool.open(folder)
        else:
            lines = list(spool.pending(happening))
            read += [int(line.record["tags"]["n"]) for line in lines]
            if lines:
                spool.acknowledge(lines[-1].end, len(lines))
    read += numbers(spool)
    spool.close()
    assert read == list(range(written))


def test_the_spools_of_starts_are_found_with_the_run_of_all(tmp_path):
    for token, run_id, parent in (("t", "abc", None), ("t0", "x", "abc"), ("t1", None, "spool:t"), ("u", "y", "other")):
        job = SpoolJob("sqlite:///x.db", "e", "n", token, 0, run_id, parent)
        Spool.create(tmp_path / token, job).close()
    for name in ("abc", "t"):
        assert [found.name for found in find_all(tmp_path, name)] == ["t", "t0", "t1"]
    assert [found.name for found in find_all(tmp_path, "x")] == ["t0"]
    (tmp_path / "t" / "job.json").unlink()  # all of it was delivered
    assert [found.name for found in find_all(tmp_path, "abc")] == ["t0"]
    assert find_all(tmp_path, "nobody") == []
