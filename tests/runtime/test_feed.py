"""Reading ahead gives the rows that reading gives, whatever was asked for before."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.runtime.feed import Feed
from tests.data.made import numbered, ready


def test_batches_read_ahead_are_those_that_readers_give(tmp_path_factory) -> None:
    data = ready(
        numbered(tmp_path_factory.mktemp("rows") / "a.parquet", 60, 7), shards=3, batch_size=13, shuffle_rows=9
    )
    plan = data.train_plan

    @given(st.data())
    @settings(max_examples=20, deadline=None)
    def law(draw) -> None:
        feed = Feed(data)
        epoch, step = draw.draw(st.integers(0, 2)), 0
        for _ in range(draw.draw(st.integers(1, 12))):
            owned = draw.draw(st.sets(st.sampled_from(plan.leaves(step)), min_size=1))
            for shard in owned:
                found = feed.batch(shard, epoch, step)
                assert found.receipt == data.reader("train", shard).batch(epoch, step).receipt
            feed.read_ahead()
            epoch, step = (epoch, step + 1) if step + 1 < plan.steps_per_epoch else (epoch + 1, 0)
        feed.close()

    law()


def test_rows_of_shards_that_moved_away_are_given_up(tmp_path: Path) -> None:
    data = ready(numbered(tmp_path / "a.parquet", 60, 7), shards=3, batch_size=13)
    feed = Feed(data)
    for shard in (0, 1):
        feed.batch(shard, 0, 0)
    feed.read_ahead()
    feed.batch(0, 0, 1)
    feed.read_ahead()
    assert set(feed._outlooks) == {0}
    feed.close()
