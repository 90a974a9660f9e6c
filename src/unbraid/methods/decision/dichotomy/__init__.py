"""The Dichotomy of Control, with tables and with networks."""
