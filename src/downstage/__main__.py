"""``python -m downstage``: the same as the command ``downstage``."""

from downstage.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
