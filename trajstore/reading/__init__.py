"""Samples and labels by row, out of a store or drawn on the fly, behind one interface.

Not here: tensors (`trajstore.torch`), and whatever writes.
"""
