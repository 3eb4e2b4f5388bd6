"""gceshim measured beside libcloud, on one machine and in one run: `python -m benchmarks`."""
