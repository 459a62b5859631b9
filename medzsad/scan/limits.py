"""The part of a run's options that reading needs."""

from medzsad.config import RunConfig
from medzsad.scan.records import ReadLimits


def read_limits(config: RunConfig) -> ReadLimits:
    """What reading may cost and tolerate under `config`."""
    return ReadLimits(
        max_voxels=config.max_voxels,
        max_archive_bytes=config.max_archive_bytes,
        min_slices=config.min_slices,
        allow_irregular=config.allow_irregular,
        allow_labels=config.allow_labels,
    )
