"""Prints the lesions of one scan: `python examples/lesions_of_a_scan.py examples/scans/head_with_lesion`."""

import sys

import medzsad


def main(path: str) -> None:
    result = medzsad.detect(path)
    print(f"{result.name}: {result.outcome}, threshold {result.threshold:.3f} ({result.threshold_provenance})")
    for lesion in result.lesions:
        left, posterior, superior = lesion.centroid_lps_mm
        print(
            f"  {lesion.index}: {lesion.volume_mm3:.0f} mm3 at L {left:.1f}, P {posterior:.1f}, S {superior:.1f} mm, "
            f"score {lesion.max_score:.2f}"
        )


if __name__ == "__main__":
    main(sys.argv[1])
