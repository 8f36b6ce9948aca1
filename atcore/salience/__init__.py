"""Salience maps: which pixels an answer depends on, and what is asked of the maps.

Imports base, images and networks.
"""
