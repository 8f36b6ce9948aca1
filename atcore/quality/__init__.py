"""What a variant keeps of its images: outlines, and what a network still learns from it.

Imports base, images, networks, training and statistics.
"""
