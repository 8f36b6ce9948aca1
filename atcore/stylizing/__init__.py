"""Style transfer: styles, AdaIN, its encoder, and the training of its decoder.

Imports base, images and networks.
"""
