"""Voices and songs: what is said, who says it, and how."""
