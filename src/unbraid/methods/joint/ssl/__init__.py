"""Self-supervision of image encoders, one objective family a module; the layers that they share are elsewhere."""
