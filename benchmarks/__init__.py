"""Benchmarks: what the project takes and what it is worth, measured through its own program."""
