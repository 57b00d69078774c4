"""distprop: data-parallel training of neural networks on CPU clusters."""

__version__ = "0.1.0"
__all__ = ["__version__"]
