"""Slices to scores: devices, precision, batches."""
