"""What can be wrong with a store: look at all of it, judge it, name the findings.

Nothing here changes a store.
"""
