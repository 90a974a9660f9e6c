"""Numerical operators that are neither networks nor losses."""
