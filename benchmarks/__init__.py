"""Accuracy, latency and what lies between: `python -m benchmarks accuracy --data fer2013.csv`."""
