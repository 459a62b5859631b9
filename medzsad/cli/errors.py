"""Errors raised on purpose as one sentence on stderr, and the exit code."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from medzsad.errors import ExitCode, MedzsadError


@contextmanager
def reported_errors(quiet: bool, verbose: bool) -> Iterator[None]:
    """Sets up the log and turns errors raised on purpose into one sentence on stderr and an exit code."""
    from rich.console import Console
    from rich.logging import RichHandler

    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logger = logging.getLogger("medzsad")
    before = logger.level, logger.handlers, logger.propagate
    logger.setLevel(level)
    logger.handlers = [handler]
    logger.propagate = False
    try:
        yield
    except MedzsadError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("Interrupted. Start the same command again to go on.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`medzsad inspect ... | head`); nothing is wrong.
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    finally:
        # A program that calls the command from Python keeps its own log.
        logger.setLevel(before[0])
        logger.handlers, logger.propagate = before[1], before[2]
