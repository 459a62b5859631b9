"""Lesions to files: NIfTI, montage, reports."""
