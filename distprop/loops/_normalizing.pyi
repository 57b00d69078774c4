from distprop.loops.tape import Array

Form = tuple[int, int, int]
"""Rows, their width, and how many scales there are."""

def normalize(
    x: Array, normal: Array, inverse: Array, y: Array, scales: Array, shifts: Array | None, eps: float, form: Form
) -> None: ...
def denormalize(
    dy: Array, normal: Array, inverse: Array, scales: Array, sums: Array, centered: bool, form: Form
) -> None: ...
