"""Scans in, results out: one scan (`pipeline`), one case of a run (`case`), many cases (`batch`)."""
