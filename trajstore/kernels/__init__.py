"""Compiled arithmetic on small arrays.

No specs, stores, strings, allocation or threads here: callers in `trajstore.scene` have them.
"""
