"""Bytes by key: one interface for folders and buckets, durable writing, room on a disk.

What the bytes mean is not known here.
"""
