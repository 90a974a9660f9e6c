"""Parts of what a graph tells of its nodes."""
