"""Networks: what they are made of and start from, and what all take that train one.

Imports base and images.
"""
