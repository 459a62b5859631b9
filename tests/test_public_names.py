"""The public surface is fixed."""

import medzsad


def test_public_names_are_these_and_all_exist() -> None:
    assert medzsad.__all__ == [
        "CaseResult", "Lesion", "Method", "Scan", "__version__", "calibrate_site", "detect", "discover",
        "load_detector", "read_scan",
    ]  # fmt: skip
    for name in medzsad.__all__:
        assert getattr(medzsad, name) is not None


def test_every_public_name_but_the_version_has_a_docstring() -> None:
    for name in medzsad.__all__:
        if name != "__version__":
            assert (getattr(medzsad, name).__doc__ or "").strip()
