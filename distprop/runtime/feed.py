"""Batches for a worker: the next leaf's rows are read while it waits, what lies further ahead in the background."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from distprop.data.dataset import Dataset
from distprop.data.reader import Batch, ShardReader

At = tuple[int, int]  # (epoch, step in the epoch)


@dataclass
class Outlook:
    """What is known of a shard's coming rows.

    rest: steps for which there is nothing to decode; `looking` finds out how many.
    """

    following: At
    batch: Batch | None = None
    looking: Future[int] | None = None
    rest: int = 0


class Feed:
    """Readers of whatever shards a worker is given, made when they are first asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._readers: dict[tuple[str, int], ShardReader] = {}
        self._outlooks: dict[int, Outlook] = {}
        self._now: At = (0, 0)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="look-ahead")

    def reader(self, split: str, shard: int) -> ShardReader:
        """The reader of a shard."""
        if (split, shard) not in self._readers:
            self._readers[split, shard] = self._dataset.reader(split, shard)
        return self._readers[split, shard]

    def batch(self, shard: int, epoch: int, step: int) -> Batch:
        """The rows of a training leaf."""
        outlook, self._now = self._outlooks.get(shard), (epoch, step)
        if outlook is not None and outlook.following == (epoch, step) and outlook.batch is not None:
            batch = outlook.batch
        else:
            batch = self.reader("train", shard).batch(epoch, step)
        following = self._after(shard, epoch, step)
        if outlook is None:
            self._outlooks[shard] = Outlook(following)
        else:
            outlook.following, outlook.batch = following, None
        return batch

    def read_ahead(self) -> None:
        """Read the next leaf of each shard, if that was not done: called while the worker waits for weights."""
        for shard, outlook in tuple(self._outlooks.items()):
            if outlook.following <= self._now:
                self._forget(shard)
            elif outlook.batch is None:
                reader = self.reader("train", shard)
                outlook.batch = reader.batch(*outlook.following)
                self._look_ahead(reader, outlook)

    def close(self) -> None:
        """Wait for the read that is under way and end the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _forget(self, shard: int) -> None:
        """Give up the rows of a shard whose turn has come without its being asked for: another worker has it."""
        del self._outlooks[shard]
        del self._readers["train", shard]

    def _after(self, shard: int, epoch: int, step: int) -> At:
        return (epoch, step + 1) if step + 1 < self._dataset.train_plan.steps(shard) else (epoch + 1, 0)

    def _look_ahead(self, reader: ShardReader, outlook: Outlook) -> None:
        """Decode coming row groups in the background, one at a time."""
        if outlook.looking is not None:
            if not outlook.looking.done():
                return
            outlook.rest, outlook.looking = outlook.looking.result(), None
        outlook.rest -= 1
        if outlook.rest <= 0:
            outlook.looking = self._thread.submit(reader.look_ahead, *outlook.following)
