"""Files to scans: finding, judging and reading DICOM series, NIfTI and other volumes, and pictures."""
