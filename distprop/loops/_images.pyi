from distprop.loops.tape import Array

Pair = tuple[int, int]
Images = tuple[int, int, int, int]

def largest(x: Array, y: Array, winner: Array, shape: Images, size: Pair) -> None: ...
def share(dy: Array, winner: Array, dx: Array, shape: Images, size: Pair) -> None: ...
def gather(
    x: Array, patches: Array, shape: Images, size: Pair, stride: Pair, dilation: Pair, before: Pair, out: Pair
) -> None: ...
