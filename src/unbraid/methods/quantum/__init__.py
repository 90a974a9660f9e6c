"""Circuits of qubits between what is seen and what is told."""
