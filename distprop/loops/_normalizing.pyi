from distprop.loops.tape import Array

Form = tuple[int, int, int]
"""Rows, their width, and how many scales there are."""

def normalize(
    x: Array, normal: Array, inverse: Array, y: Array, scales: Array, shifts: Array | None, eps: float, form: Form
) -> None: ...
def sum_channels(values: Array, others: Array, off: Array | None, sums: Array, form: tuple[int, int, int]) -> None: ...
def mix_channels(
    values: Array,
    factor: Array,
    others: Array | None,
    slope: Array | None,
    plus: Array,
    out: Array,
    form: tuple[int, int],
) -> None: ...
def denormalize(
    dy: Array, normal: Array, inverse: Array, scales: Array, sums: Array, centered: bool, form: Form
) -> None: ...
