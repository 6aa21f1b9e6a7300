"""Compiled chains and the choice of kernel."""
