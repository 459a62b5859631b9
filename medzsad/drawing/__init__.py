"""Pictures: the montage of a case, examples, sheets and plots. Nothing here writes a file."""
