"""Anonymous shared memory: no names to leak, freed when the last process that holds it dies."""

import mmap
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """Memory that can be lent to another process of the host by its file descriptor. Pages cost when written."""

    fd: int
    memory: mmap.mmap

    @classmethod
    def create(cls, name: str, size: int) -> "Segment":
        """A new segment of `size` bytes, all zeros; `name` is for whoever looks into /proc."""
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(fd, max(size, 1))
        return cls.open(fd)

    @classmethod
    def open(cls, fd: int, writable: bool = True) -> "Segment":
        """The segment behind a descriptor; a reader maps it so that it cannot write."""
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        return cls(fd, mmap.mmap(fd, 0, mmap.MAP_SHARED, protection))
