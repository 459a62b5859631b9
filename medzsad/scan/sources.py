"""Where scans come from: what there is, and each of them opened when its turn comes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medzsad.scan.discover import discover
from medzsad.scan.records import Candidate, Candidates, ReadLimits


class ScanSource(Protocol):
    """A place that scans come from; it holds no open files, so that it can be sent to another process.

    Example:
        >>> with temporary_unpack_dir() as folder:  # doctest: +SKIP
        ...     for candidate in source.candidates(limits):
        ...         with source.opened(candidate, folder) as local:
        ...             scan = read_scan(local, limits)
    """

    def candidates(self, limits: ReadLimits) -> Candidates:
        """Every series and file of the source, eligible or refused, in a fixed order.

        A source far away lists what its index tells; `files` is empty then, and a candidate may still be refused
        when it is read.

        Raises:
            ConfigError: The source does not exist, or what was asked for is not there.
        """
        ...

    def opened(self, candidate: Candidate, into: Path) -> AbstractContextManager[Candidate]:
        """The candidate with its files on this machine while the block lasts.

        A source far away fetches them into a new folder below `into`, which it removes at the end of the block.

        Args:
            candidate: One of `candidates`.
            into: A folder that the caller removes in the end, as `temporary_unpack_dir` does.

        Raises:
            RefusedError: The files cannot be fetched.
        """
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Folders, files and archives on this machine.

    Attributes:
        paths: Folders (searched recursively), files and archives.
        series: Keep only these: SeriesInstanceUID or its beginning, SeriesNumber, or case name.
        frame: Index along the fourth axis, for files that have one.
        all_frames: Whether each index along the fourth axis becomes a candidate.
        unpack_dir: Where archives are unpacked to, when candidates are listed; they are refused without it.
    """

    paths: Sequence[Path]
    series: Sequence[str] = ()
    frame: int | None = None
    all_frames: bool = False
    unpack_dir: Path | None = None

    def candidates(self, limits: ReadLimits) -> Candidates:
        """See `ScanSource.candidates`; archives are unpacked for their headers, and stay unpacked."""
        return discover(
            self.paths,
            limits=limits,
            series=self.series,
            frame=self.frame,
            all_frames=self.all_frames,
            unpack_dir=self.unpack_dir,
        )

    def opened(self, candidate: Candidate, into: Path) -> AbstractContextManager[Candidate]:
        """The candidate as it is, for its files are here."""
        del into
        return nullcontext(candidate)
