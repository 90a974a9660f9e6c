"""The loop: the Stepper that descends, `fit` over it, checkpoints, run folders, processes."""
