"""Neural concatenative voice conversion: its options, what is computed once, its vocoder, and how it is judged."""
