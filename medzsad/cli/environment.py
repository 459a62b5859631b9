"""`medzsad info`."""

import click

from medzsad.cli.errors import reported_errors


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def info(as_json: bool) -> None:
    """Versions, devices, decodable transfer syntaxes and installed weights."""
    with reported_errors(quiet=False, verbose=False):
        from medzsad.inspection import environment_json, environment_text

        click.echo(environment_json() if as_json else environment_text())
