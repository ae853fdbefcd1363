"""Benchmarks: command-line programs that print ratios against peers; each runs with `python -m bench.NAME`."""
