"""Where scans come from: what there is, and each of them opened when its turn comes."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from medzsad.config import RunConfig
from medzsad.scan.discover import discover
from medzsad.scan.guard import refusing
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
            candidate: One of `candidates` that is eligible; its name stays as it is.
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

    @classmethod
    def as_asked(cls, paths: Sequence[Path], config: RunConfig, unpack_dir: Path | None) -> Self:
        """The scans under the paths that the options of a run choose."""
        return cls(paths, config.series, config.frame, config.all_frames, unpack_dir)

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


LOCAL_FILES = FolderSource(())  # opens whatever has its files on this machine


@contextmanager
def opened_case(source: ScanSource, candidate: Candidate, into: Path | None) -> Iterator[Candidate]:
    """The candidate with its files here while the block lasts; one that is not eligible as it is, for nobody reads it.

    Args:
        source: Where the candidate comes from.
        candidate: Its name is kept, for a case is locked and filed under it.
        into: The source gets a new folder in there, which is removed in the end with all that is in it; None makes
            it among the temporary files.

    Raises:
        RefusedError: The files cannot be fetched.
    """
    if not candidate.eligible:
        yield candidate
        return
    if candidate.parts:
        with ExitStack() as stack:
            parts = tuple(stack.enter_context(opened_case(source, part, into)) for part in candidate.parts)
            yield replace(candidate, parts=parts, files=tuple(file for part in parts for file in part.files))
        return
    with refusing(candidate.label, problem="cannot be fetched"):
        folder = Path(tempfile.mkdtemp(prefix="case-", dir=into))
    try:
        with source.opened(candidate, folder) as local:
            yield replace(local, name=candidate.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
