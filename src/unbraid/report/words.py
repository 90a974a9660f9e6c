"""Numbers as people read them; whatever is missing or not finite is a dash."""

from __future__ import annotations

import math
from typing import Any

DASH = "–"
THIN = "\u202f"  # narrow no-break space


def finite(value: Any) -> float | None:
    """The number, or None where there is none.

    >>> finite("0.5"), finite(None), finite(float("nan")), finite("x")
    (0.5, None, None, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def number(value: Any) -> str:
    """A number with three significant digits, whole ones in full.

    >>> number(0.123456), number(737280).replace(THIN, " "), number(float("nan")), number(1.2e-7)
    ('0.123', '737 280', '–', '1.2e-07')
    """
    x = finite(value)
    if x is None:
        return DASH
    if x == int(x) and abs(x) < 1e15:
        return f"{int(x):,}".replace(",", THIN)
    return f"{x:.3g}" if abs(x) < 1000 else f"{x:,.0f}".replace(",", THIN)


def percent(value: Any) -> str:
    """A share of 1 as percent; shares below zero, which chance makes, as 0.

    >>> percent(0.8372).replace(THIN, " "), percent(0.004).replace(THIN, " "), percent(-0.01).replace(THIN, " ")
    ('84 %', '<1 %', '0 %')
    """
    x = finite(value)
    if x is None:
        return DASH
    if 0.0005 <= x < 0.005:
        return f"<1{THIN}%"
    return f"{max(0, round(100 * x))}{THIN}%"


def interval(low: Any, high: Any) -> str:
    """The ends of an interval in percent, one number where they are the same; empty where one is missing.

    >>> interval(0.813, 0.862), interval(-0.02, 0.001), interval(None, 1)
    ('81–86', '0', '')
    """
    a, b = finite(low), finite(high)
    if a is None or b is None:
        return ""
    first, last = (max(0, round(100 * x)) for x in (a, b))
    return f"{first}–{last}" if first != last else str(first)


def interval_reach(low: Any, high: Any) -> str:
    """Half the width of an interval; empty where an end is missing.

    >>> interval_reach(0.2, 0.3), interval_reach(float("-inf"), 1)
    ('± 0.05', '')
    """
    a, b = finite(low), finite(high)
    return "" if a is None or b is None else f"± {number(round((b - a) / 2, 12))}"


def duration(seconds: Any) -> str:
    """A time as people say it.

    >>> duration(52.4), duration(192), duration(7500)
    ('52 s', '3 min 12 s', '2 h 5 min')
    """
    x = finite(seconds)
    if x is None:
        return DASH
    whole = round(x)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(words: list[str], last: str = "and") -> str:
    """A list in words.

    >>> listed(["site", "scanner", "sex"]), listed(["site"])
    ('site, scanner and sex', 'site')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


_SCORES = {
    "mig": "MIG",
    "rmig": "RMIG",
    "mig_sup": "MIG-sup",
    "jemmig": "JEMMIG",
    "dcimig": "DCIMIG",
    "irs": "IRS",
    "beta_vae": "beta-VAE score",
    "factor_vae": "FactorVAE score",
    "gaussian_tc": "Gaussian total correlation",
    "gaussian_wasserstein": "Gaussian Wasserstein distance",
    "mutual_info": "Mutual information between latents",
    "sap": "SAP",
    "infom": "InfoM",
    "infoc": "InfoC",
    "infoe": "InfoE",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
}


def title(name: str) -> str:
    """The name of a score or gauge as it is written.

    >>> title("dci_disentanglement"), title("effective_rank")
    ('DCI disentanglement', 'Effective rank')
    """
    text = name.replace("_", " ").strip()
    return _SCORES.get(name, text[:1].upper() + text[1:])
