"""From (spec, rows) to labels and pixels: motion, appearance, cameras, order, random numbers.

Pure functions; no files here.
"""
