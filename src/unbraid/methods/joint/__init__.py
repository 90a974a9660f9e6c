"""Joint embedding: representations that two views of an item share."""
