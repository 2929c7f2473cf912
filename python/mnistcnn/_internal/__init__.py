"""Helpers that are independent of images and networks: compiled module, argument checks, files, values, tables."""
