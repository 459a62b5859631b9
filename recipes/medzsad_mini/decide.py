"""Fits the decision of weights on phantoms: `python -m recipes.medzsad_mini.decide WEIGHTS --volumes N -o WEIGHTS_OUT`.

Half of the phantoms are healthy. What each one says is kept as a line of WEIGHTS_OUT's .candidates.jsonl, so that a
command that was interrupted goes on when it is started again. The operating curve is drawn beside it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from medzsad.config import RunConfig
from medzsad.drawing.operating_plot import operating_plot
from medzsad.errors import ConfigError, MedzsadError, RefusedError
from medzsad.files import write_bytes_atomic
from medzsad.methods.detector import Detector
from medzsad.run.key import json_digest
from medzsad.run.pipeline import load_detector
from medzsad.run.rule import comparable_options
from medzsad.scan.records import Scan
from medzsad.training.candidate_rows import (
    LEAST_OVERLAP,
    THRESHOLDS,
    TRUE_COVER,
    TRUE_OVERLAP,
    VolumeRow,
    measure_volume,
)
from medzsad.training.decide import decision_from_rows
from medzsad.version import __version__
from medzsad.volume.candidates import FEATURES
from medzsad.weights.card import DecisionCard, Decisions
from medzsad.weights.store import resolve_weights, rewrite_card

_DATA = "generated heads (medzsad.phantoms), no scan of a patient"


@dataclass(frozen=True, slots=True)
class LabeledScan:
    """A phantom in the form that a decision is fitted on."""

    scan: Scan
    mask: NDArray[np.bool_]


def decide_weights(weights: str | Path, out: Path, volumes: int, first_seed: int) -> DecisionCard:
    """The decision, after it was stored in `out` beside the tensors of `weights`.

    Raises:
        ConfigError: There are too few volumes, or the kept rows are of other weights.
        WeightsError: The weights are missing or damaged.
        OutputError: A file cannot be written.
    """
    source = resolve_weights(weights)
    detector = load_detector(source)
    kept = KeptRows(out.with_suffix(".candidates.jsonl"), _fingerprint(detector))
    rows = list(_rows(detector, kept, range(first_seed, first_seed + volumes)))
    card = decision_from_rows(rows, _DATA)
    before = detector.card.decision or Decisions()
    stored = rewrite_card(source, out, {"decision": before.model_copy(update={"volumes": card})})
    write_bytes_atomic(out.with_suffix(".operating.png"), operating_plot(card, stored.name))
    return card


def _rows(detector: Detector, kept: "KeptRows", seeds: range) -> Iterator[VolumeRow]:
    make_phantom = import_module("medzsad.phantoms").make_phantom
    done = kept.read()
    with click.progressbar(seeds, label="phantoms") as shown:
        for seed in shown:
            if seed not in done:
                phantom = make_phantom(seed, lesion=seed % 2 == 1)
                labeled = LabeledScan(phantom.scan(), phantom.mask)
                try:
                    done[seed] = measure_volume(detector, labeled, RunConfig())
                except RefusedError as refusal:
                    raise ConfigError(f"Phantom {seed} ({phantom.family}) was refused: {refusal}") from None
                kept.add(seed, done[seed])
            yield done[seed]


def _fingerprint(detector: Detector) -> str:
    """What rows must have in common: program, weights, options, features and thresholds."""
    made_with = [
        __version__, detector.card.content_sha256 or detector.card.sha256, detector.card.clip_sha256,
        comparable_options(detector, RunConfig()), FEATURES, THRESHOLDS,
        (TRUE_OVERLAP, TRUE_COVER, LEAST_OVERLAP), _DATA,
    ]  # fmt: skip
    return json_digest(made_with)


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Rows of volumes as lines of JSON; a line that a kill has cut short is passed over.

    Attributes:
        path: The file; its first line is the fingerprint.
        fingerprint: Of what the rows are made with.
    """

    path: Path
    fingerprint: str

    def read(self) -> dict[int, VolumeRow]:
        """The kept rows by seed; the file is started where there is none.

        Raises:
            ConfigError: The rows were made with something else.
        """
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"fingerprint": self.fingerprint}) + "\n", encoding="utf-8")
            return {}
        head, *lines = self.path.read_text(encoding="utf-8").split("\n")
        if head != json.dumps({"fingerprint": self.fingerprint}):
            raise ConfigError(
                f"{self.path} was made with other weights or another version. Delete it, or choose another output."
            )
        whole = lines[:-1]  # what follows the last line feed was cut short, or is empty
        self.path.write_text("\n".join([head, *whole, ""]), encoding="utf-8")
        values = (json.loads(line) for line in whole)
        return {value["seed"]: VolumeRow.model_validate(value["row"]) for value in values}

    def add(self, seed: int, row: VolumeRow) -> None:
        """Appends a row."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"seed": seed, "row": row.model_dump(mode="json")}) + "\n")


@click.command()
@click.argument("weights")
@click.option("--volumes", type=click.IntRange(min=8), default=400, show_default=True, help="Number of phantoms.")
@click.option("--first-seed", type=int, default=0, show_default=True, help="Seed of the first phantom.")
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Weights to write.")
def main(weights: str, volumes: int, first_seed: int, out: Path) -> None:
    """Fit the decision of WEIGHTS, a name or a file, on phantoms, and store it in a copy of them."""
    try:
        card = decide_weights(weights, out, volumes, first_seed)
    except MedzsadError as error:
        raise click.ClickException(str(error)) from None
    click.echo(card.provenance)
    for point in card.operating.points:
        if point.level is not None:
            found, lesions = sum(point.found_by_size), sum(card.operating.lesions_by_size)
            click.echo(
                f"{point.level:>8}: {card.levels[point.level].share:.1%} of {card.healthy_scans} healthy scans called "
                f"lesion, {point.false_lesions_per_scan:.2f} false lesions per scan, {found} of {lesions} lesions found"
            )
    click.echo(f"Weights: {out}")


if __name__ == "__main__":
    main()
