"""Random views of a batch as tensor functions, by modality."""
