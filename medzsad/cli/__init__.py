"""The command line: parse, call one function, map the result to an exit code.

Nothing heavy is imported at the top, so that `medzsad --help` answers at once.
"""

import click

from medzsad.cli.calibrate import calibrate
from medzsad.cli.environment import info
from medzsad.cli.evaluate import evaluate
from medzsad.cli.inspect import inspect
from medzsad.cli.methods import methods
from medzsad.cli.report import report
from medzsad.cli.run import run
from medzsad.cli.train import train
from medzsad.cli.weights import weights
from medzsad.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="medzsad")
def main() -> None:
    """Zero-shot anomaly detection for medical scans. Research use, not a medical device.

    Exit codes: 0 every case is lesion or no_lesion; 1 at least one case failed; 2 usage or configuration;
    3 at least one case was refused and none failed.
    """


for command in (run, calibrate, report, inspect, train, evaluate, info, methods, weights):
    main.add_command(command)
