"""Networks that were trained elsewhere: read, understood, checked, and made one of this project.

Imports base, images, networks and statistics.
"""
