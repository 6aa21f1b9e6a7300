"""Block programs: a small DAG of ops, evaluated for any region of its outputs."""
