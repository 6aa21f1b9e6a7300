"""``python -m hpcflow``."""

# Worker processes import this module under another name before they start: nothing for them here.
if __name__ == "__main__":
    from hpcflow.cli import main

    main()
