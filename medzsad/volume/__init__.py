"""Scores to lesions in the scan's own grid."""
