"""Files to scans: finding, judging and reading DICOM series, NIfTI and other volumes, and pictures."""

from medzsad.scan.silence import quiet_libraries

quiet_libraries()
