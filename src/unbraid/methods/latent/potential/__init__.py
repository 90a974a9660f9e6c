"""Codes moved along the gradients of learned potentials."""
