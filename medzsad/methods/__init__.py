"""Detection methods, one file per published method, and the import of their authors' weights."""
