"""How the weights that come with medzsad were made; not part of the installed package."""
