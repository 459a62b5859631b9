"""Auxiliary training data: read in the layouts in use, checked before anything is loaded."""
