"""One module per operation: `check`, `do` and `undo`."""
