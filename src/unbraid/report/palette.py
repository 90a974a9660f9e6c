"""The shades of the heat map, light and dark, each with ink that can be read on it."""

from __future__ import annotations

LEVELS = 20
_LIGHT = ("#f3f1ec", "#c3dde0", "#5fa3b0", "#0d5a70")
_DARK = ("#22262b", "#1f4a57", "#2f8296", "#8fdcea")
_INKS = ("#07090b", "#ffffff")


def level(share: float) -> int:
    """The shade of a share of 1, clamped.

    >>> level(-0.1), level(0.5), level(7.0)
    (0, 10, 20)
    """
    return round(max(0.0, min(1.0, share)) * LEVELS)


def shades(dark: bool = False) -> list[tuple[str, str]]:
    """(ground, ink) of every level; the ink is whichever of black and white stands out more."""
    grounds = [_mix(_DARK if dark else _LIGHT, i / LEVELS) for i in range(LEVELS + 1)]
    return [(ground, max(_INKS, key=lambda ink: contrast(ink, ground))) for ground in grounds]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours as WCAG 2 defines it, 1 to 21.

    >>> round(contrast("#ffffff", "#000000"))
    21
    """
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _mix(stops: tuple[str, ...], share: float) -> str:
    at = share * (len(stops) - 1)
    i = min(int(at), len(stops) - 2)
    a, b = _channels(stops[i]), _channels(stops[i + 1])
    mixed = (round(x + (at - i) * (y - x)) for x, y in zip(a, b, strict=True))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _luminance(colour: str) -> float:
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
