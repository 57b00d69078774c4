"""Batches for a worker, read ahead in the background while it computes."""

from concurrent.futures import Future, ThreadPoolExecutor

from distprop.data.dataset import Dataset
from distprop.data.reader import Batch, ShardReader

Key = tuple[int, int, int]  # shard, epoch, step


class Feed:
    """Hands out a worker's training batches; the next one of a shard is read while this one is used."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._readers: dict[tuple[str, int], ShardReader] = {}
        self._ahead: dict[int, tuple[Key, Future[Batch]]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def reader(self, split: str, shard: int) -> ShardReader:
        """The reader of a shard."""
        if (split, shard) not in self._readers:
            self._readers[split, shard] = self._dataset.reader(split, shard)
        return self._readers[split, shard]

    def batch(self, shard: int, epoch: int, step: int) -> Batch:
        """The rows of a leaf, read before if this is the one that comes next."""
        key = (shard, epoch, step)
        known, reading = self._ahead.pop(shard, (None, None))
        batch = reading.result() if reading is not None and known == key else None
        if batch is None:
            batch = self.reader("train", shard).batch(epoch, step)
        self._read_ahead(self._next(key))
        return batch

    def close(self) -> None:
        """Wait for the read that is under way and end the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _next(self, key: Key) -> Key:
        shard, epoch, step = key
        if step + 1 < self._dataset.train_plan.steps(shard):
            return shard, epoch, step + 1
        return shard, epoch + 1, 0

    def _read_ahead(self, key: Key) -> None:
        shard, epoch, step = key
        self._ahead[shard] = key, self._thread.submit(self.reader("train", shard).batch, epoch, step)
