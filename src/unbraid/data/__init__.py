"""Data sets that hand out whole batches by index, their factors, and the readers of users' files."""
