"""Writes durations for people."""


def duration(seconds: float) -> str:
    """`20 s`, `15 min`: whole minutes from two minutes on, otherwise seconds."""
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s"
