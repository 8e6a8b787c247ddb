"""Compiled arithmetic: arrays and numbers in, arrays out; nothing here knows a spec, a store or a string."""
