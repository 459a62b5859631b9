"""PILOT-style prompts, a reconstruction (METHODS H)."""
