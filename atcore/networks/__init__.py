"""Networks: what they are made of and start from, and the rates at which they learn.

Imports base and images.
"""
