"""How long each stage took when it last ran here, and durations in words."""

from contextlib import suppress

from pipeline.runtime import paths


def record(label: str, seconds: float) -> None:
    """Write down how long a stage took."""
    file = paths.duration(label)
    with suppress(OSError):  # nothing but `cnnkeras plan` asks for it
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{seconds:.3f}\n", encoding="utf-8")


def last(label: str) -> float | None:
    """Seconds that a stage took when it last ran here; None if that is not known."""
    try:
        return float(paths.duration(label).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def in_words(seconds: float) -> str:
    """A duration in its two largest units: `1 h 3 min`, `2 min 5 s`, `8 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.0f} s"
