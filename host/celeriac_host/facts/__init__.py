"""One module per fact: `look(args, host)` → the JSON value. They change nothing."""
