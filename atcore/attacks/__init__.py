"""Attacks on networks, on pixels in [0, 1]; the threat model is the seam.

Imports base.
"""
