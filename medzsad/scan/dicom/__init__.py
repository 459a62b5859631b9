"""One DICOM series: what its headers say, how its slices belong together, and the scan that they make."""
