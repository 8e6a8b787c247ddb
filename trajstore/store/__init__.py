"""The format: what lies where in a store, its metadata and flags, and writing them.

Samples are read by `trajstore.reading` and not here.
"""
