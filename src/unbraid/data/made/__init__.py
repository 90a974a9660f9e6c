"""Worlds drawn by program: everything about every item is known."""
