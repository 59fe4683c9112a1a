"""One module per fact: `look(args, host)` → the JSON value.

They change nothing. What a command among the user's own checks does (`command`) is its own
business.
"""
