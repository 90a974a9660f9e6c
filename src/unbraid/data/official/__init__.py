"""Published data sets from their official files: what they are, how to get them, how to read them."""
