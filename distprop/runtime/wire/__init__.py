"""How messages, gradients and weights travel."""
