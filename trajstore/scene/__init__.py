"""Pure functions from (spec, rows) to labels and pixels: motion, appearance, cameras, class order, random numbers.

No files and no stores here.
"""
