"""`python -m safeloop`: the command line."""

from safeloop.cli import main

if __name__ == "__main__":
    main()
