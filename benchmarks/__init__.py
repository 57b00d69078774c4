"""What distprop costs and how it compares, measured side by side on one machine: `python -m benchmarks --help`."""
