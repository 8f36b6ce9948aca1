"""Standard and adversarial training, by one worker or several.

Imports base, images, networks and attacks.
"""
