"""Outputs looked at: a small picture, a histogram, the first rows; a bounded part of them is read."""
