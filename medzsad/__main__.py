"""`python -m medzsad` is `medzsad`."""

from medzsad.cli import main

main()
