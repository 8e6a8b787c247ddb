"""Arithmetic on arrays: compiled kernels, and elementwise NumPy that gives the same bits everywhere.

No specs, stores, strings or threads here; callers in `trajstore.scene` have them. Kernels do not allocate either.
"""
