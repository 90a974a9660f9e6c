"""Networks under limits of memory and of power."""
