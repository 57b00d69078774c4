"""A server that has nothing to do says that it is there: who hears nothing of it must take it for lost."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from distprop.config import load_job
from distprop.errors import LostError
from distprop.protocol.messages import COORDINATOR, Address
from distprop.runtime.process.gauges import Alive, Sample
from distprop.runtime.process.server import ServerProcess
from distprop.runtime.wire.post import Post
from distprop.runtime.wire.reaching import reach
from distprop.training.assembling import assemble
from tests.runtime.small import small_job, written

WORDS = 5


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Post]:
    """The post of the coordinator of a server that has no workers."""
    secret = secrets.token_bytes(32)
    blueprint = assemble(load_job(small_job(written(tmp_path), tmp_path))).blueprint
    server = ServerProcess(0, blueprint, str(tmp_path), secret, "127.0.0.1", patience=10.0)
    serving = threading.Thread(target=_serve, args=(server,))
    post = Post()
    serving.start()
    try:
        post.connect(Address("server", 0), reach(server.door.address, secret, COORDINATOR, None))
        yield post
    finally:
        post.close()
        serving.join()


def _serve(server: ServerProcess) -> None:
    with suppress(LostError):  # the coordinator hangs up
        server.serve()


def test_an_idle_server_speaks_with_every_tick_however_seldom_its_host_is_looked_at(idle: Post) -> None:
    heard: list[Any] = []
    while sum(type(message) is Alive for message in heard) < WORDS:
        heard += [mail.message for mail in idle.poll(1.0)]
    assert None not in heard
    assert sum(type(message) is Sample for message in heard) < WORDS - 1
