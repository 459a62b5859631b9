"""CoPS (arXiv 2508.03447): prompts that are put together from the image itself."""
