"""Where blocks run: one context manager each."""
