"""Ours against the peers: both sides in one process, ratios as CSV."""
