"""Raw images as users have them, and which of them train, validate and test.

Imports base and images.
"""
