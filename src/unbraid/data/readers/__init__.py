"""Readers of files: arrays, folders of images, tables and IDX."""
