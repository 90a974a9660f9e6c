"""Scores, information, probes, gauges and statistics as pure functions: codes and factors in, numbers out."""
