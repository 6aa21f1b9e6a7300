"""hpcflow beside what one would use in its place, and beside what the machine can do at most.

``python -m benchmarks [NAME…] [--quick]`` runs the rows, one file each in `rows/`.
"""
