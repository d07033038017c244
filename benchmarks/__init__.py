"""Benchmarks: every figure beside its peer in the same run, correctness checked first."""
