"""``python -m hpcflow``."""

# Worker processes import this module under another name before they start: nothing for them here.
if __name__ == "__main__":
    import signal

    # Until the command line listens, a signal ends the process without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from hpcflow.cli import main

    main()
