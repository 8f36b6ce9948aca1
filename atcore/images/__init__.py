"""Images: encoded, as pixels, as tables, and the embedded dataset `shapes`.

Imports base.
"""
