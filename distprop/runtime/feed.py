"""Batches for a worker: its shards' leaves, read ahead in the background, and the rows that it evaluates on."""

from distprop.data.dataset import Dataset
from distprop.data.readahead import ReadAhead
from distprop.data.reader import Batch, ShardReader


class Feed:
    """Readers of whatever shards a worker is given, made when they are first asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._readers: dict[tuple[str, int], ShardReader] = {}
        self._ahead = ReadAhead()

    def reader(self, split: str, shard: int) -> ShardReader:
        """The reader of a shard."""
        if (split, shard) not in self._readers:
            self._readers[split, shard] = self._dataset.reader(split, shard)
        return self._readers[split, shard]

    def batch(self, shard: int, epoch: int, step: int) -> Batch:
        """The rows of a training leaf."""
        if shard not in self._ahead.shards:
            owned = {*self._ahead.shards, shard}
            self._ahead.own({one: self.reader("train", one) for one in owned})
        return self._ahead.batch(shard, epoch, step)

    def close(self) -> None:
        """Wait for the read that is under way and end the thread."""
        self._ahead.close()
