"""Shared helpers without knowledge of images or networks: native module, checks, files, values, tables."""
