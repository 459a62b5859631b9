"""What is part of the key under which a case is done."""

from medzsad.config import RunConfig
from medzsad.run.key import result_options, score_options


def test_adaptation_is_part_of_the_key_only_where_it_is_asked_for() -> None:
    for options in (result_options, score_options):
        plain = options(RunConfig())
        assert "adapt" not in plain  # as in cases and calibrations from before there was any
        assert options(RunConfig(adapt=True)) == plain | {"adapt": True}
