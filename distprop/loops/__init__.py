"""Elementwise work as data: recorded, then done by one compiled loop, or by NumPy to the same bits."""
