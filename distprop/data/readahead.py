"""Reading the next batches in the background while the present one is computed."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from distprop.data.reader import Batch, ShardReader

At = tuple[int, int]  # (epoch, step in the epoch)


class ReadAhead:
    """Readers of the owned shards, each read `depth` leaves ahead by one thread.

    Gives the same batches as the readers do, also when it is asked for others than the expected ones.
    """

    def __init__(self, readers: Mapping[int, ShardReader] | None = None, depth: int = 4) -> None:
        self._readers = dict(readers or {})
        self._depth = depth
        self._ahead: dict[int, deque[tuple[At, Future[Batch]]]] = {}
        self._decoding: Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")

    def own(self, readers: Mapping[int, ShardReader]) -> None:
        """From now on, read these shards and no others; readers of shards that stay are kept."""
        for shard in set(self._readers) - set(readers):
            self._forget(shard)
            del self._readers[shard]
        self._readers |= {shard: reader for shard, reader in readers.items() if shard not in self._readers}

    @property
    def shards(self) -> tuple[int, ...]:
        """The owned shards."""
        return tuple(sorted(self._readers))

    def batch(self, shard: int, epoch: int, step: int) -> Batch:
        """As the shard's reader gives it, and start on the following ones. Raises what the reader raises."""
        reader, at = self._readers[shard], (epoch, step)
        ahead = self._ahead.setdefault(shard, deque())
        if not ahead or ahead[0][0] != at:
            self._forget(shard)
            ahead = self._ahead.setdefault(shard, deque())
            batch = reader.batch(epoch, step)
        else:
            batch = ahead.popleft()[1].result()
        self._fill(reader, ahead, at)
        if self._decoding is None or self._decoding.done():  # one at a time: batches come first
            self._decoding = self._thread.submit(reader.look_ahead, *ahead[-1][0])
        return batch

    def _fill(self, reader: ShardReader, ahead: deque[tuple[At, Future[Batch]]], at: At) -> None:
        last = ahead[-1][0] if ahead else at
        while len(ahead) < self._depth:
            last = _following(reader, last)
            ahead.append((last, self._thread.submit(reader.batch, *last)))

    def _forget(self, shard: int) -> None:
        for _, future in self._ahead.pop(shard, deque()):
            future.cancel()

    def close(self) -> None:
        """Stop reading and wait for the thread to end."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _following(reader: ShardReader, at: At) -> At:
    epoch, step = at
    return (epoch, step + 1) if reader.plan.leaf_rows(reader.shard, step + 1) else (epoch + 1, 0)
