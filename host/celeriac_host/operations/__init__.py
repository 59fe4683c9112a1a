"""One file for each verb: `check`, `do` and `undo`."""
