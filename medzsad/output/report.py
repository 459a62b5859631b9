"""The run as a whole: report.json for programs, report.csv for tables, report.html for eyes."""

import base64
import csv
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from medzsad.config import Sensitivity
from medzsad.errors import OutputError
from medzsad.files import write_text_atomic
from medzsad.output.paths import case_paths
from medzsad.output.schema import CaseRecord, IncompleteCase, LesionRecord, RunManifest, RunReport, json_text
from medzsad.volume.cutoffs import one_in
from medzsad.volume.records import Outcome
from medzsad.volume.threshold import GIVEN_BY_USER

MOST_EMBEDDED_CASES = 200
MOST_PICTURE_BYTES = 150_000

CASE_COLUMNS = (
    "case", "outcome", "code", "message", "warnings", "input", "description", "modality", "plane", "model",
    "threshold", "case_max_score", "lesions", "sensitivity", "weaker_candidates",
)  # fmt: skip
LESION_COLUMNS = (
    "lesion", "volume_mm3", "voxel_count", "max_score", "mean_score", "mean_spread",
    "centroid_lps_x_mm", "centroid_lps_y_mm", "centroid_lps_z_mm",
    "centroid_ras_x_mm", "centroid_ras_y_mm", "centroid_ras_z_mm",
    "i_first", "i_last", "j_first", "j_last", "k_first", "k_last",
    "slice_axis", "slice_first", "slice_last", "instance_first", "instance_last", "sop_instance_uids",
    "probability", "healthy_share",
)  # fmt: skip


def write_reports(
    out_dir: Path, manifest: RunManifest, cases: Sequence[CaseRecord], incomplete: Sequence[IncompleteCase] = ()
) -> None:
    """Writes report.json, report.csv and report.html into `out_dir`, each of them whole or not at all.

    Args:
        out_dir: Where the case folders stand; pictures are taken from there.
        manifest: What the run was made with.
        cases: All cases, in the order in which they are to be listed.
        incomplete: Cases whose folder holds no usable result.

    Raises:
        OutputError: A file could not be written.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out_dir} cannot be made: {error.strerror}. Choose another output folder.") from error
    report = RunReport(
        manifest=manifest,
        counts={outcome: sum(case.outcome == outcome for case in cases) for outcome in Outcome},
        cases=tuple(case.summary() for case in cases),
        incomplete=tuple(incomplete),
    )
    write_text_atomic(out_dir / "report.json", json_text(report))
    write_text_atomic(out_dir / "report.csv", csv_text(cases))
    write_text_atomic(out_dir / "report.html", html_text(out_dir, report))


def csv_text(cases: Sequence[CaseRecord]) -> str:
    """A table with a row per lesion; a case without lesions has one row, in which the lesion columns are empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CASE_COLUMNS + LESION_COLUMNS)
    for case in cases:
        facts = (
            case.name, str(case.outcome), case.code or "", case.message, " ".join(case.warnings), case.input.label,
            case.input.description, case.input.modality, case.input.plane or "", case.model.name,
            _cell(case.threshold), _cell(case.max_score), len(case.lesions),
            *((case.decision.sensitivity, case.decision.dropped) if case.decision else ("", "")),
        )  # fmt: skip
        rows = [_lesion_cells(lesion) for lesion in case.lesions] or [("",) * len(LESION_COLUMNS)]
        for row in rows:
            writer.writerow([safe_cell(cell) for cell in facts + row])
    return stream.getvalue()


def html_text(out_dir: Path, report: RunReport) -> str:
    """The report as one HTML file with all styles and pictures inside; no scripts.

    Pictures are reduced to 150 kB each. With more than 200 cases they are linked instead of embedded, so that the
    file stays small enough to open.
    """
    embed = len(report.cases) <= MOST_EMBEDDED_CASES
    pictures = [_picture_address(out_dir, case.name, case.files, embed) for case in report.cases]
    return page(
        "report.html.j2",
        report=report,
        manifest=report.manifest,
        model=report.manifest.model,
        threshold=threshold_text(report.manifest),
        decision=decision_text(report.manifest),
        one_in=one_in,
        cases=list(zip(report.cases, pictures, strict=True)),
        address=lambda *parts: quote("/".join(parts)),
    )


def threshold_text(manifest: RunManifest) -> str:
    """Which threshold the run used, and who chose it."""
    given, model = manifest.config.get("threshold"), manifest.model
    if given is not None:
        stored = "the weights hold none" if model.threshold is None else f"the weights hold {model.threshold:.4g}"
        return f"{given:.4g}, {GIVEN_BY_USER} ({stored})"
    if manifest.calibration is not None and manifest.calibration.unit == "score":
        return f"{manifest.calibration.levels[_level(manifest)] or 0.0:.4g}, from normal scans of the site's own"
    if model.decision is not None:
        parts = {"volumes": model.decision.volumes, "pictures": model.decision.pictures}
        texts = [f"{part.voxel_threshold:.4g} for {kind}" for kind, part in parts.items() if part is not None]
        return f"{', '.join(texts)}, with the decision of the weights"
    if model.threshold is None:
        return "the weights hold none"
    chosen_by = f" ({model.threshold_provenance})" if model.threshold_provenance else ""
    return f"{model.threshold:.4g}, stored with the weights{chosen_by}"


def decision_text(manifest: RunManifest) -> str:
    """How candidates became lesions in the run; "" where every component of the mask is one."""
    site, decisions = manifest.calibration, manifest.model.decision
    if manifest.config.get("threshold") is not None or (site is None and decisions is None):
        return ""
    level = _level(manifest)
    if site is not None:
        scans = "1 normal scan" if site.count == 1 else f"{site.count} normal scans"
        return f"sensitivity {level}, cut-off of {scans} of the site's own (sha256 {site.scans_sha256[:12]})"
    assert decisions is not None
    parts = {"volumes": decisions.volumes, "pictures": decisions.pictures}
    shares = [
        f"{part.levels[level].share:.1%} of {part.healthy_scans} healthy {kind} were called lesion in calibration"
        for kind, part in parts.items()
        if part is not None
    ]
    return f"sensitivity {level}: {', '.join(shares)}"


def _level(manifest: RunManifest) -> Sensitivity:
    level: Sensitivity = manifest.config.get("sensitivity") or "balanced"
    return level


def page(template: str, **values: Any) -> str:
    """An HTML page of a template in the assets, everything escaped, with the style that all pages share.

    Args:
        template: File name of the template.
        **values: What it shows; one that is missing is an error.
    """
    # Everything is escaped, whatever the name of the template.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    assets = resources.files("medzsad").joinpath("assets")
    source, style = (assets.joinpath(name).read_text(encoding="utf-8") for name in (template, "report.css"))
    return environment.from_string(source).render(style=Markup(style), **values)


def embedded_picture(path: Path) -> Markup:
    """The address of a picture that holds all of it, reduced to 150 kB.

    Raises:
        OSError: It cannot be read.
    """
    with Image.open(path) as picture:
        small = _reduced_jpeg(picture.convert("RGB"))
    return Markup("data:image/jpeg;base64,") + base64.b64encode(small).decode("ascii")


def _lesion_cells(lesion: LesionRecord) -> tuple[Any, ...]:
    return (
        lesion.index,
        _cell(lesion.volume_mm3),
        lesion.voxel_count,
        lesion.max_score,
        lesion.mean_score,
        _cell(lesion.mean_spread),
        *(lesion.centroid_lps_mm or ("",) * 3),
        *(lesion.centroid_ras_mm or ("",) * 3),
        *(edge for pair in lesion.bounding_box for edge in pair),
        lesion.slice_axis,
        lesion.slice_first,
        lesion.slice_last,
        _cell(lesion.instance_first),
        _cell(lesion.instance_last),
        " ".join(lesion.sop_instance_uids),
        _cell(lesion.probability),
        _cell(lesion.healthy_share),
    )


def _cell(value: float | None) -> float | str:
    return "" if value is None else value


def safe_cell(cell: Any) -> Any:
    """The cell of a table; text that starts like a formula gets a quote, for spreadsheets would run it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _picture_address(out_dir: Path, name: str, files: dict[str, str], embed: bool) -> Markup | None:
    path = case_paths(out_dir, name).montage
    if path.name not in files:
        return None
    if not embed:
        return Markup(quote(f"{name}/{path.name}"))  # quoted: no HTML sign is left
    try:
        return embedded_picture(path)
    except OSError as error:
        raise OutputError(f"The picture of case {name} cannot be read back. Run the case again.") from error


def _reduced_jpeg(picture: Image.Image) -> bytes:
    for width, quality in ((1600, 82), (1600, 74), (1400, 66), (1200, 60), (1000, 54), (800, 48), (600, 40)):
        small = picture.copy()
        small.thumbnail((width, 4 * width), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        small.save(stream, format="JPEG", quality=quality)
        if stream.tell() <= MOST_PICTURE_BYTES:
            break
    return stream.getvalue()
