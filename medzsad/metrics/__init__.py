"""Metrics of scores against labels: exact, in bounded memory, with intervals by subject."""
