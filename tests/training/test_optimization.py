"""Parameter groups, schedule and the rule of patience (METHODS A.5)."""

import json
from itertools import pairwise
from math import cos, log, pi, sqrt

import pytest
import torch
from torch import Tensor, nn

from medzsad.methods.bayes_pfl.model import BayesPFL
from medzsad.methods.bayes_pfl.objective import BayesPFLObjective
from medzsad.training.optimization import (
    PatienceRule,
    Verdict,
    make_optimizer,
    rate_share,
    set_rates,
    warm_up_cosine,
)
from tests import tiny

STAGES = BayesPFLObjective.stages


def _rates(stage: int) -> dict[str, float]:
    prompts = tiny.prompts()
    names = {id(parameter): name for name, parameter in prompts.named_parameters()}
    return {names[id(p)]: group["lr"] for group in STAGES[stage - 1].groups(prompts) for p in group["params"]}


def test_stage_one_learns_every_parameter_at_the_authors_rates() -> None:
    rates = _rates(1)
    assert set(rates) == {name for name, _ in tiny.prompts().named_parameters()}
    by_rate = {rate: {name for name, own in rates.items() if own == rate} for rate in (1e-2, 1e-3, 1e-4)}
    assert by_rate[1e-2] == {"log_scale_pixel", "log_scale_image"}
    flows = {f"{state}_flow.{part}" for state in ("normal", "abnormal") for part in ("u", "w", "beta", "state")}
    flows |= {f"context_flow.{part}.{kind}" for part in ("u", "w", "beta") for kind in ("weight", "bias")}
    assert by_rate[1e-3] == flows | {"prompt_context", "prompt_normal", "prompt_abnormal"}
    assert {name.split(".")[0] for name in by_rate[1e-4]} == {
        "context_flow",  # its encoder
        "state_encoder",
        "refinement",
        "summary",
        "text_head",
        "image_head",
    }
    assert sum(len(names) for names in by_rate.values()) == len(rates)


def test_stage_two_learns_the_heads_alone() -> None:
    rates = _rates(2)
    assert {name.split(".")[0] for name in rates} == {"text_head", "image_head", "summary"}
    assert set(rates.values()) == {1e-4}
    assert len(rates) == 10


def test_groups_are_named_and_none_is_counted_twice() -> None:
    groups = STAGES[0].groups(tiny.prompts())
    assert [group["name"] for group in groups] == ["prompts", "temperatures", "flows", "networks"]
    parameters = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(parameters) == len(set(parameters))


@pytest.mark.parametrize("stage", [1, 2])
def test_the_optimizer_is_adam_with_the_authors_betas_and_no_decay(stage: int) -> None:
    optimizer = make_optimizer(tiny.prompts(), STAGES[stage - 1])
    for group in optimizer.param_groups:
        assert group["betas"] == (0.5, 0.999)
        assert group["weight_decay"] == 0


def test_the_rate_rises_linearly_then_falls_along_half_a_cosine() -> None:
    shares = [warm_up_cosine(step, 100) for step in range(101)]
    assert shares[:11] == pytest.approx([step / 10 for step in range(11)])
    assert max(shares) == shares[10]
    assert shares[55] == pytest.approx(0.5)
    assert shares[40] == pytest.approx(0.5 * (1 + cos(pi / 3)))
    assert shares[100] == pytest.approx(0, abs=1e-12)
    assert all(a > b for a, b in pairwise(shares[10:]))


def test_a_rate_exists_for_any_length_of_training() -> None:
    for total in range(1, 25):
        shares = [warm_up_cosine(step, total) for step in range(total)]
        assert all(0 <= share <= 1 for share in shares)
        assert max(shares) > 0
    assert warm_up_cosine(0, 20, warm_up=0) == 1
    assert warm_up_cosine(30, 20) == pytest.approx(0, abs=1e-12)


def test_only_the_first_stage_follows_the_schedule() -> None:
    assert [rate_share(STAGES[0], step, 100) for step in (0, 10, 55)] == pytest.approx([0, 1, 0.5])
    assert [rate_share(STAGES[1], step, 100) for step in (0, 10, 55)] == [1, 1, 1]


def test_a_training_of_one_stage_ends_where_others_switch() -> None:
    rule = PatienceRule(30)
    for criterion in (0.5, 0.1, 0.1, 0.1):
        rule, _ = rule.after(criterion)
    assert rule.after(0.1)[1] == Verdict(False, "stop")


def test_rates_are_set_as_shares_of_the_base_rates_also_after_a_restart() -> None:
    prompts = tiny.prompts()
    optimizer = make_optimizer(prompts, STAGES[0])
    set_rates(optimizer, 0.25)
    resumed = make_optimizer(prompts, STAGES[0])
    resumed.load_state_dict(optimizer.state_dict())
    assert set_rates(resumed, 0.5) == pytest.approx(
        {"prompts": 5e-4, "temperatures": 5e-3, "flows": 5e-4, "networks": 5e-5}
    )


def _run(criteria: list[float | None], epochs: int = 30) -> tuple[list[Verdict], PatienceRule]:
    rule, verdicts = PatienceRule(epochs, stages=2), []
    for criterion in criteria:
        rule, verdict = rule.after(criterion)
        verdicts.append(verdict)
    return verdicts, rule


def test_the_fourth_failure_in_a_row_switches_to_stage_two_with_the_best_weights() -> None:
    verdicts, rule = _run([0.3, 0.5, 0.4, 0.4, 0.4])
    assert [verdict.action for verdict in verdicts] == ["continue"] * 5
    assert (rule.stage, rule.best, rule.best_epoch, rule.failures) == (1, 0.5, 1, 3)
    rule, verdict = rule.after(0.4)
    assert verdict == Verdict(False, "switch", restore=True)
    assert (rule.stage, rule.best, rule.epoch, rule.failures) == (2, None, 6, 0)


def test_matching_the_best_is_no_failure() -> None:
    verdicts, rule = _run([0.5, 0.4, 0.4, 0.4, 0.5, 0.4, 0.4, 0.4])
    assert [verdict.improved for verdict in verdicts] == [True, False, False, False, True, False, False, False]
    assert {verdict.action for verdict in verdicts} == {"continue"}
    assert rule.best_epoch == 4


def test_the_first_epoch_of_stage_two_improves_however_low_its_criterion() -> None:
    verdicts, rule = _run([0.9, 0.1, 0.1, 0.1, 0.1, 0.0])
    assert verdicts[-1] == Verdict(True, "continue")
    assert (rule.stage, rule.best, rule.best_epoch) == (2, 0.0, 5)


def test_stage_two_ends_after_four_failures() -> None:
    verdicts, _ = _run([0.9, 0.1, 0.1, 0.1, 0.1, 0.7, 0.6, 0.6, 0.6, 0.6])
    assert [verdict.action for verdict in verdicts] == ["continue"] * 4 + ["switch"] + ["continue"] * 4 + ["stop"]


@pytest.mark.parametrize("criteria", [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [None, None, None]])
def test_training_stops_at_the_last_epoch(criteria: list[float | None]) -> None:
    verdicts, _ = _run(criteria, epochs=3)
    assert [verdict.action for verdict in verdicts] == ["continue", "continue", "stop"]


def test_no_stage_begins_after_the_last_epoch() -> None:
    verdicts, rule = _run([0.5, 0.1, 0.1, 0.1, 0.1], epochs=5)
    assert verdicts[-1] == Verdict(False, "stop")
    assert rule.stage == 1


@pytest.mark.parametrize("undefined", [None, float("nan"), float("inf")])
def test_an_undefined_criterion_is_a_failure(undefined: float | None) -> None:
    verdicts, rule = _run([0.5, undefined, undefined, undefined])
    assert not any(verdict.improved for verdict in verdicts[1:])
    assert rule.best == 0.5
    assert rule.after(undefined)[1] == Verdict(False, "switch", restore=True)


def test_training_without_any_defined_criterion_ends_and_restores_nothing() -> None:
    verdicts, _ = _run([None] * 8)
    assert verdicts[3] == Verdict(False, "switch", restore=False)
    assert verdicts[7] == Verdict(False, "stop")


def test_the_state_survives_json_at_every_epoch() -> None:
    criteria = [0.3, None, 0.5, 0.4, 0.4, 0.4, 0.4, 0.2, 0.1, 0.3, 0.1, 0.1, 0.1, 0.1]
    straight, resumed = PatienceRule(30, stages=2), PatienceRule(30, stages=2)
    for criterion in criteria:
        straight, expected = straight.after(criterion)
        resumed, verdict = PatienceRule.from_dict(json.loads(json.dumps(resumed.to_dict()))).after(criterion)
        assert (resumed, verdict) == (straight, expected)
    assert expected.action == "stop"


def test_a_step_of_stage_one_moves_no_head_of_stage_two() -> None:
    prompts = tiny.prompts()
    before = {name: value.clone() for name, value in prompts.state_dict().items()}
    optimizer = make_optimizer(prompts, STAGES[0])
    torch.stack([prompts.prompt_context.sum(), prompts.log_scale_pixel]).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    moved = {name for name, value in prompts.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"prompt_context", "log_scale_pixel"}


@pytest.fixture(scope="module")
def fresh() -> BayesPFL:
    torch.manual_seed(0)
    return BayesPFL(width=96, vision_width=64, hidden=48, layer_count=2, bank=4, flows=12)


def _check_moments(values: Tensor, mean: float, deviation: float) -> None:
    """Mean and standard deviation of normal draws, to 4.5 standard errors."""
    values = values.detach().double()
    assert abs(float(values.mean()) - mean) < 4.5 * deviation / sqrt(values.numel())
    assert abs(float(values.std()) - deviation) < 4.5 * deviation / sqrt(2 * values.numel())


def test_training_starts_from_linear_layers_of_small_weights_and_no_bias(fresh: BayesPFL) -> None:
    layers = [module for module in fresh.modules() if isinstance(module, nn.Linear)]
    assert len(layers) == 12 + 3 + 2 + 3 + 2  # encoders, context flow, patches, summary, heads
    for layer in layers:
        _check_moments(layer.weight, 0, 0.02)
        assert layer.bias is None or not layer.bias.any()


def test_training_starts_from_the_default_of_the_convolution(fresh: BayesPFL) -> None:
    bound = 1 / sqrt(96)  # uniform within it, weight and bias
    for values in (fresh.refinement.query.weight, fresh.refinement.query.bias):
        assert values is not None
        assert 0.9 * bound < float(values.detach().abs().max()) <= bound
        assert float(values.detach().std()) == pytest.approx(bound / sqrt(3), rel=0.15)


def test_training_starts_from_standard_normal_state_flows(fresh: BayesPFL) -> None:
    for flow in (fresh.normal_flow, fresh.abnormal_flow):
        for values in (flow.u, flow.w, flow.beta, flow.state):
            _check_moments(values, 0, 1)
    assert not torch.equal(fresh.normal_flow.u, fresh.abnormal_flow.u)


def test_training_starts_from_prompts_on_either_side_of_zero_and_the_temperature_of_clip(fresh: BayesPFL) -> None:
    for values, mean in ((fresh.prompt_context, 0), (fresh.prompt_normal, 0.5), (fresh.prompt_abnormal, -0.5)):
        # The authors cut these normal draws at 2 in size, 75 standard deviations away.
        _check_moments(values, mean, 0.02)
    for scale in (fresh.log_scale_pixel, fresh.log_scale_image):
        assert float(scale.detach()) == pytest.approx(log(1 / 0.07))
