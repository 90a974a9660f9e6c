"""Families of latent numbers, each of which should know one factor."""
