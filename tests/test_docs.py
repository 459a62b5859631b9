"""What the documentation says exists does: sections, links, files, reason codes, and the method of the how-to."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

import medzsad
from medzsad.clip.tower import Tower
from medzsad.errors import ExitCode, ReasonCode, WeightsError
from medzsad.methods.base import Method
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.methods.objective import Truth
from medzsad.methods.registry import find_method, method_names
from medzsad.training.config import TrainConfig
from medzsad.volume.records import Outcome
from medzsad.weights.imported import recognized_method
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
_FENCE = re.compile(r"^\s*```.*?^\s*```$", re.DOTALL | re.MULTILINE)
_CITED = re.compile(r"METHODS(?:,? sections?)? ((?:[A-Z]\.)?\d|[A-F](?=\)|\.\W))((?:(?:,| and| to) (?:[A-Z]\.)?\d)*)")
# The first folder of a path that a page may name as one of ours.
_OURS = "medzsad|tests|docs|configs|benchmarks|recipes|examples"


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ (.+)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def _sections() -> set[str]:
    return set(re.findall(r"^#{2,3} ((?:[A-Z]\.)?\d|[A-Z])\b", _text(ROOT / "docs" / "methods.md"), re.MULTILINE))


def _citations() -> Iterator[tuple[str, str]]:
    folders = ("medzsad", "recipes", "tests", "benchmarks", "configs")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path != Path(__file__)]
    for path in files:
        if path.suffix in (".py", ".yaml"):
            for first, others in _CITED.findall(path.read_text(encoding="utf-8")):
                for section in (first, *re.findall(r"(?:[A-Z]\.)?\d", others)):
                    yield _name(path), section


def test_every_section_that_a_comment_cites_is_a_heading() -> None:
    cited = list(_citations())
    assert len({name for name, _ in cited}) >= 20
    assert [(name, section) for name, section in cited if section not in _sections()] == []


def test_every_table_of_published_figures_is_a_section() -> None:
    published = yaml.safe_load(_text(ROOT / "medzsad" / "assets" / "published.yaml"))
    tables = {table["table"] for table in published["tables"]}
    assert tables
    assert tables <= _sections()


def test_the_architecture_names_every_package_and_file() -> None:
    named = set(re.findall(r"`([\w.]+)/?`", _text(ROOT / "docs" / "architecture.md").split("\n| --- | --- |\n")[1]))
    parts = (ROOT / "medzsad").iterdir()
    there = {path.name for path in parts if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__.py", "__main__.py", "inspection.py"} <= named


def test_no_comment_cites_a_document_that_is_not_here() -> None:
    places = [path for folder in ("medzsad", "recipes", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert [_name(path) for path in places if "METHODS_" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(((?!https?:|mailto:)[^)\s]+)\)", _FENCE.sub("", _text(page))):
        place, _, anchor = target.partition("#")
        file = page.parent / place if place else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            wrong.append(target)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(rf"`((?:{_OURS})/[\w./-]*\w/?)(?=[`\s])", _text(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_module_that_a_page_names_can_be_found(page: Path) -> None:
    for dotted in set(re.findall(r"`(medzsad(?:\.\w+)+)`", _text(page))):
        owner: object = importlib.import_module("medzsad")
        at = "medzsad"
        for part in dotted.split(".")[1:]:
            at = f"{at}.{part}"
            if isinstance(owner, ModuleType) and not hasattr(owner, part):
                importlib.import_module(at)
            assert hasattr(owner, part), f"{_name(page)} names {dotted}"
            owner = getattr(owner, part)


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(([^)#]+\.md)\)", _text(ROOT / "docs" / "index.md")))
    assert {page.relative_to(ROOT / "docs").as_posix() for page in DOCS} - {"index.md"} <= listed


def _first_cells(page: str, heading: str) -> list[str]:
    part = _text(ROOT / "docs" / page).split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `?(\w+)`? \|", part, re.MULTILINE)[1:]


def test_the_table_of_reasons_has_every_code_once() -> None:
    assert sorted(_first_cells("concepts/outcomes.md", "Reason codes")) == sorted(ReasonCode)


def test_the_tables_of_outcomes_and_exit_codes_are_complete() -> None:
    assert sorted(_first_cells("concepts/outcomes.md", "The four outcomes")) == sorted(Outcome)
    assert sorted(_first_cells("concepts/outcomes.md", "Exit codes")) == sorted(str(int(code)) for code in ExitCode)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Method]:
    """The method of the how-to, installed as its page says: a module and an entry point."""
    page = _text(ROOT / "docs" / "how-to" / "add-a-method.md")
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL))
    (tmp_path / "prompt_pair.py").write_text(blocks["python"], encoding="utf-8")
    installed = tmp_path / "prompt_pair-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: prompt-pair\nVersion: 1.0\n", encoding="utf-8")
    table, line = blocks["toml"].strip().splitlines()
    group = re.fullmatch(r'\[project\.entry-points\."(.+)"\]', table)
    assert group is not None
    points = f"[{group[1]}]\n{line.replace(chr(34), '')}\n"
    (installed / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield find_method("prompt_pair")
    sys.modules.pop("prompt_pair", None)


def _detector(method: Method) -> Detector:
    spec = replace(method.spec, image_size=tiny.SPEC.image_size, layers=(3,))
    tower = Tower(tiny.tower(spec), spec)
    assert method.train_options is not None
    torch.manual_seed(0)
    model = method.model(**method.model.sizes_for(tower, method.train_options()))
    card = tiny.card(method=method.name, spec=spec, options={})
    return Detector(tower, model, method, card)


def test_the_method_of_the_how_to_is_found_by_its_entry_point(example: Method) -> None:
    assert "prompt_pair" in method_names()
    assert example.title == "Prompt pair"


def test_the_configuration_of_the_how_to_is_one_that_training_takes(example: Method) -> None:
    text = re.findall(r"```yaml\n(.*?)```", _text(ROOT / "docs" / "how-to" / "add-a-method.md"), re.DOTALL)[0]
    config = TrainConfig.model_validate(yaml.safe_load(text))
    assert config.method == example.name
    assert example.train_options is not None
    assert example.train_options.model_validate(config.options).model_dump() == config.options


def test_the_method_of_the_how_to_scores_each_image_by_itself(example: Method) -> None:
    detector, images = _detector(example).frozen(), tiny.images(3)
    together = detector.predict(images, ["object"] * 3, SharedNoise())
    alone = detector.predict(images[1:2], ["object"], SharedNoise())
    assert together.score_map.shape == (3, 28, 28)
    assert together.score_map.std() > 1e-4
    assert together.score_map.min() >= 0
    assert together.score_map.max() <= 1
    torch.testing.assert_close(together.score_map[1:2], alone.score_map, atol=1e-6, rtol=0)
    torch.testing.assert_close(together.image_score[1:2], alone.image_score, atol=1e-6, rtol=0)


def test_training_the_method_of_the_how_to_lowers_its_loss(example: Method) -> None:
    detector = _detector(example)
    assert example.objective is not None
    assert example.train_options is not None
    objective = example.objective(example.train_options())
    stage = objective.stages[0]
    images = tiny.images(4)
    masks = torch.zeros(4, 28, 28)
    masks[2:, 7:21, 7:21] = 1
    truth = Truth(torch.tensor([0, 0, 1, 1]), masks, torch.tensor([True, True, True, False]))
    features, generator = detector.tower.features(images), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(stage.groups(detector.model))
    history = []
    for _ in range(20):
        parts = objective.losses(detector.model, detector.tower, features, ["object"] * 4, truth, {}, stage, generator)
        assert tuple(parts) == stage.parts
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < history[0]
    example.options.model_validate(objective.used_with(stage).model_dump())


def test_the_importer_of_the_how_to_reads_its_files_and_no_others(example: Method, tmp_path: Path) -> None:
    content = {"pair": {"ctx": torch.ones(2, 5, tiny.WIDTH)}, "width": tiny.WIDTH}
    path = tmp_path / "pair.pth"
    assert recognized_method(content, path).name == "prompt_pair"
    assert example.importer is not None
    translation = example.importer.translate(content, path)
    example.model(**translation.sizes).load_state_dict(translation.state)
    with pytest.raises(WeightsError, match=r"pair\.pth"):
        example.importer.translate({"pair": {"other": torch.ones(1)}, "width": 1}, path)


def test_the_example_stands_on_its_own_in_a_fresh_process(example: Method, tmp_path: Path) -> None:
    code = "from medzsad.methods.registry import find_method; print(find_method('prompt_pair').name)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == example.name


def test_the_table_of_public_names_is_complete() -> None:
    table = _text(ROOT / "docs" / "api" / "python.md")
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(
        name for name in medzsad.__all__ if name != "__version__"
    )


def test_the_python_example_runs_and_leaves_the_files_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.findall(r"```python\n(.*?)```", _text(ROOT / "docs" / "api" / "python.md"), re.DOTALL)[0]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "python.md", "exec"), {})
    assert capsys.readouterr().out.split()[0] in ("lesion", "no_lesion")
    files = {path.name for path in (tmp_path / "results").glob("*/*")}
    assert files >= {"mask.nii.gz", "score.nii.gz", "montage.png", "case.json"}
