"""Benchmarks, each beside a yardstick in the same run: the ratio is the result, since machines differ and are noisy."""
