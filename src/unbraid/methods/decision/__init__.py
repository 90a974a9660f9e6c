"""Methods that tell what was decided from what happened by chance."""
