"""What is seen in a clip, and how it moves."""
