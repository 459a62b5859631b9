"""Processes share a batch, and end with the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import medzsad
from medzsad.training.distributed import World, joined_world
from tests.training.tiny_training import options

ROOT = Path(__file__).resolve().parents[2]

# Each process writes the prompts that it ends with.
PROGRAM = """
import os, sys
from pathlib import Path
import torch
from medzsad.training import train as module
from medzsad.training.config import read_train_config

seen = []
begin = module.begin
def remembering(training):
    seen.append(training)
    return begin(training)
module.begin = remembering
run_epoch = module.Loop.run_epoch
def writing(loop):
    record = run_epoch(loop)
    torch.save(loop.training.model.state_dict(), Path(sys.argv[2]) / f"rank{os.environ['RANK']}.pt")
    return record
module.Loop.run_epoch = writing
module.train(read_train_config(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.parametrize(("count", "size", "accumulate"), [(8, 2, 2), (5, 3, 2), (1, 2, 1)])
def test_every_image_of_a_batch_is_taken_once(count: int, size: int, accumulate: int) -> None:
    worlds = [World(rank, size, torch.device("cpu")) for rank in range(size)]
    parts = [world.parts(count, accumulate) for world in worlds]
    assert {len(own) for own in parts} == {accumulate}
    assert sorted(place for own in parts for part in own for place in part) == list(range(count))


def test_one_process_needs_no_others() -> None:
    with joined_world(torch.device("cpu")) as world:
        assert world.first
        assert world.gather(3) == [3]
        assert world.share("x") == "x"
        assert world.any(True)
        assert not world.any(False)


@pytest.mark.slow
def test_two_processes_end_with_identical_weights(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(options(tmp_path, epochs=2)))
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = ["--nproc-per-node", "2", "--master-port", "29611", str(tmp_path / "program.py")]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *arguments, str(tmp_path / "train.yaml"), str(out)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=300,
    )
    first, second = (torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(json.loads((out / "history.json").read_text())) == 2
    assert medzsad.load_detector(out / "weights.safetensors").card.threshold is not None
