"""The hand: what runs on the server. It looks, and carries out operations; it decides nothing."""
