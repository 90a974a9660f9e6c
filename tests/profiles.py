"""How many cases Hypothesis tries: few and always the same ones by default, many in the nightly profile."""

from hypothesis import HealthCheck, settings

NIGHTLY, READERS = 10_000, 100_000
"""Cases of a property in the nightly profile, and of a reader of files."""


def register():
    """The profiles: `HYPOTHESIS_PROFILE=nightly` or `--hypothesis-profile=nightly` chooses."""
    quiet = list(HealthCheck)
    settings.register_profile("quick", deadline=None, derandomize=True, suppress_health_check=quiet)
    settings.register_profile(
        "nightly", max_examples=NIGHTLY, deadline=None, print_blob=True, suppress_health_check=quiet
    )


def nightly():
    """Whether the nightly profile is chosen."""
    return settings.get_current_profile_name() == "nightly"


def cases(quick, many=NIGHTLY):
    """Settings with so many cases: `quick` by default, `many` in the nightly profile."""
    return settings(max_examples=many if nightly() else quick)
