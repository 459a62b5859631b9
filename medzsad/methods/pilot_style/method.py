"""PILOT-style as the registry knows it."""

from medzsad.methods.base import Method
from medzsad.methods.pilot_style.model import (
    PilotStyle,
    PilotStyleObjective,
    PilotStyleOptions,
    PilotStyleTrainOptions,
)
from medzsad.methods.prompts import TOWER

METHOD = Method(
    name="pilot-style",
    title="PILOT-style",
    source="After PILOT, arXiv 2508.00777",
    model=PilotStyle,
    spec=TOWER,
    clip_name="ViT-L-14-336",
    options=PilotStyleOptions,
    train_options=PilotStyleTrainOptions,
    objective=PilotStyleObjective,
    protocol="anomalyclip",
    fidelity="reconstruction",
    scope=(
        "Built from the paper's abstract and summaries, for want of a program and of formulas; "
        "no published figure belongs to it."
    ),
)
