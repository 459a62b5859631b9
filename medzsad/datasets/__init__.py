"""Labeled images and volumes: read in the layouts in use, checked before anything is loaded."""
