"""Losses: pure functions, tensors in and terms out; per sample wherever the loss is one."""
