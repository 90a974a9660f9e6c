"""Dictionaries of activations: sparse and learned, or in closed form from known attributes, and how both are judged."""
