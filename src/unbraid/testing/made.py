"""Small made data for contract tests, and the small method of any class."""

from unbraid.data.made.tiny import tiny_images, tiny_vectors
from unbraid.verbs.trying import tiny_config, tiny_data, tiny_method

__all__ = ["tiny_config", "tiny_data", "tiny_images", "tiny_method", "tiny_vectors"]
