"""Writes durations for people."""


def duration(seconds: float) -> str:
    """`20 s`, `15 min`: whole minutes from two minutes on, otherwise seconds."""
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:.0f} min"
    # No exponent, and no more digits than matter.
    text = f"{seconds:.1f}"
    return f"{text[:-2] if text.endswith('.0') else text} s"
