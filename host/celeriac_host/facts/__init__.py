"""Facts: one module each, `look(args, host)` → what goes over the wire. They change nothing."""
