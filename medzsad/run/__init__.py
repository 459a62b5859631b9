"""Scans in, results out: one scan (`pipeline`, `detect`), one case of a run (`case`), many (`batch`, `executor`)."""
