import hashlib
import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.digest import block_digests, digest
from distprop.nn.arena import Block


def test_the_digest_is_that_of_the_blocks_digests():
    flat = np.arange(6, dtype="<f4")
    parts = [hashlib.sha256(flat[:4].tobytes()).digest(), hashlib.sha256(flat[4:].tobytes()).digest()]
    blocks = [Block(0, 4), Block(4, 6)]
    assert block_digests(flat, blocks) == tuple(parts)
    assert digest(parts) == hashlib.sha256(parts[0] + parts[1]).hexdigest()


@settings(max_examples=30)
@given(st.integers(1, 40), st.data())
def test_slices_hash_their_blocks_alone(size, data):
    flat = np.arange(size, dtype=np.float32)
    cuts = sorted(data.draw(st.sets(st.integers(1, size), max_size=5)) | {0, size})
    blocks = [Block(start, stop) for start, stop in itertools.pairwise(cuts)]
    split = data.draw(st.integers(0, len(blocks)))
    first = cuts[split]
    second_half = [Block(block.start - first, block.stop - first) for block in blocks[split:]]
    parts = block_digests(flat, blocks[:split]) + block_digests(flat[first:], second_half)
    assert digest(parts) == digest(block_digests(flat, blocks))


def test_one_bit_or_the_sign_of_zero_changes_the_digest():
    blocks = [Block(0, 3)]
    zeros = digest(block_digests(np.zeros(3, np.float32), blocks))
    assert digest(block_digests(np.array([0, -0.0, 0], np.float32), blocks)) != zeros
    assert digest(block_digests(np.array([0, 0, 1e-45], np.float32), blocks)) != zeros


def test_the_order_of_bytes_in_memory_does_not_matter():
    flat = np.arange(5, dtype="<f4")
    assert block_digests(flat.astype(">f4"), [Block(0, 5)]) == block_digests(flat, [Block(0, 5)])
