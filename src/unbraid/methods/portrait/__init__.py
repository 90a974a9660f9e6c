"""What a generator of pictures can be asked to change."""
