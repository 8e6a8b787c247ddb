"""One module a column group: its arrays, rows per task, and the function that makes their values.

How tasks become files is not said here but in `trajstore.store.write`.
"""
