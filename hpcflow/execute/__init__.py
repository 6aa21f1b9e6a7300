"""Running a plan: blocks through a bounded window, on workers."""
