"""Samples as people see them: sheets, films, clips for viewers.

Samples come from `trajstore.reading`; how they are stored is not known here.
"""
