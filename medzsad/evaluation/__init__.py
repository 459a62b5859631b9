"""Benchmark metrics: what a detector scored, measured exactly and set beside what others published."""
