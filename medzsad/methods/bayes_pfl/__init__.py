"""Bayes-PFL (arXiv 2503.10080): prompts as random variables."""
