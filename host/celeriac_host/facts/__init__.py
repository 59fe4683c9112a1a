"""One module per fact: `look(args, host)` → the JSON value. Facts only read."""
