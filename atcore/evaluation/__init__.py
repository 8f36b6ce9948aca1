"""What networks answer, and the table of their answers.

Imports base, images, networks and attacks.
"""
