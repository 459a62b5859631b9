"""Weights: what they say about themselves, where they lie, how they are loaded, fetched and imported."""
