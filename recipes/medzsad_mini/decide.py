"""Fits the decisions of weights: `python -m recipes.medzsad_mini.decide WEIGHTS --volumes N -o WEIGHTS_OUT`.

That for volumes is fitted on N phantoms, half of them healthy; that for pictures on slices of them and on generated
pictures of other organs. What each phantom says is kept as a line of WEIGHTS_OUT's .candidates.jsonl, so that a command
that was interrupted goes on when it is started again. The operating curves are drawn beside it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from medzsad.config import RunConfig
from medzsad.drawing.operating_plot import operating_plot
from medzsad.errors import ConfigError, MedzsadError, RefusedError
from medzsad.files import write_bytes_atomic
from medzsad.methods.detector import Detector
from medzsad.run.key import json_digest
from medzsad.run.pipeline import load_detector
from medzsad.run.rule import comparable_options
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
from medzsad.weights.card import Decisions
from medzsad.weights.store import resolve_weights, rewrite_card
from recipes.medzsad_mini.decision_pictures import LabeledScan, organ_picture, slice_pictures

_DATA = {
    "volumes": "generated heads (medzsad.phantoms), no scan of a patient",
    "pictures": "slices of generated heads (medzsad.phantoms) and generated pictures of other organs "
    "(medzsad.generator), no picture of a patient",
}


def decide_weights(weights: str | Path, out: Path, volumes: int, first_seed: int) -> Decisions:
    """The decisions, after they were stored in `out` beside the tensors of `weights`.

    Raises:
        ConfigError: There are too few volumes, or the kept rows are of other weights.
        WeightsError: The weights are missing or damaged.
        OutputError: A file cannot be written.
    """
    source = resolve_weights(weights)
    detector = load_detector(source)
    kept = KeptRows(out.with_suffix(".candidates.jsonl"), _fingerprint(detector))
    rows = [row for found in _rows(detector, kept, range(first_seed, first_seed + volumes)) for row in found]
    cards = {kind: decision_from_rows([row for row in rows if row.kind == kind], data) for kind, data in _DATA.items()}
    decisions = Decisions(**cards)
    stored = rewrite_card(source, out, {"decision": decisions})
    for kind, card in cards.items():
        write_bytes_atomic(out.with_suffix(f".operating-{kind}.png"), operating_plot(card, f"{stored.name}, {kind}"))
    return decisions


def _rows(detector: Detector, kept: "KeptRows", seeds: range) -> Iterator[tuple[VolumeRow, ...]]:
    make_phantom = import_module("medzsad.phantoms").make_phantom
    done = kept.read()
    with click.progressbar(seeds, label="phantoms") as shown:
        for seed in shown:
            if seed not in done:
                phantom = make_phantom(seed, lesion=seed % 2 == 1)
                labeled = LabeledScan(phantom.scan(), phantom.mask)
                pictures = [*slice_pictures(labeled, seed), organ_picture(seed, lesion=seed % 2 == 1)]
                try:
                    done[seed] = tuple(measure_volume(detector, one, RunConfig()) for one in (labeled, *pictures))
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

    def read(self) -> dict[int, tuple[VolumeRow, ...]]:
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
        return {value["seed"]: tuple(map(VolumeRow.model_validate, value["rows"])) for value in values}

    def add(self, seed: int, rows: tuple[VolumeRow, ...]) -> None:
        """Appends the rows of a phantom: its volume, then its pictures."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"seed": seed, "rows": [row.model_dump(mode="json") for row in rows]}) + "\n")


@click.command()
@click.argument("weights")
@click.option("--volumes", type=click.IntRange(min=8), default=400, show_default=True, help="Number of phantoms.")
@click.option("--first-seed", type=int, default=0, show_default=True, help="Seed of the first phantom.")
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Weights to write.")
def main(weights: str, volumes: int, first_seed: int, out: Path) -> None:
    """Fit the decision of WEIGHTS, a name or a file, on phantoms, and store it in a copy of them."""
    try:
        decisions = decide_weights(weights, out, volumes, first_seed)
    except MedzsadError as error:
        raise click.ClickException(str(error)) from None
    for line in told(decisions):
        click.echo(line)
    click.echo(f"Weights: {out}")


def told(decisions: Decisions) -> Iterator[str]:
    """Lines for a terminal: how each decision was made, and what each level of sensitivity finds and costs."""
    for card in (decisions.volumes, decisions.pictures):
        if card is None:
            continue
        yield card.provenance
        for point in card.operating.points:
            if point.level is not None:
                found, lesions = sum(point.found_by_size), sum(card.operating.lesions_by_size)
                yield (
                    f"{point.level:>8}: {card.levels[point.level].share:.1%} of {card.healthy_scans} healthy scans "
                    f"called lesion, {point.false_lesions_per_scan:.2f} false lesions per scan, {found} of {lesions} "
                    "lesions found"
                )


if __name__ == "__main__":
    main()
