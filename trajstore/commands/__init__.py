"""One file a command: the library function behind `trajstore COMMAND`, and its report.

What several commands share stands below and not here: in `trajstore.store`, `trajstore.integrity` and the like.
"""
