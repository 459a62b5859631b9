"""The recipe of the embedded model, medzsad-mini."""
