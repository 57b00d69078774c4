from distprop.loops.tape import Array, Op

def play(
    ops: list[Op], vectors: tuple[Array, ...], kept: int, stops: tuple[int, ...], streamed: bool
) -> list[list[float]]: ...
