"""Small networks of our own, trained once, in the place of checkpoints that nobody gave."""
