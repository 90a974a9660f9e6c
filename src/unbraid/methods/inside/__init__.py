"""What is inside a network that was trained for something else."""
