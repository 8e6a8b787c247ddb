"""The command line as ``python -m trajstore``, for where the command ``trajstore`` is not on the path."""

from trajstore.cli import main

if __name__ == "__main__":
    main()
