"""Declarative flows over arrays larger than memory, on Dask."""
