"""Nested clusters without labels, and places taken out of what patches say."""
