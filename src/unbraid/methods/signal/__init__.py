"""Signals of sensors and radios: what they come from, apart from what they came through."""
