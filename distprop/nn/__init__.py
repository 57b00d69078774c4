"""Neural networks over arrays: layers, losses, metrics and the gradient of a leaf."""
