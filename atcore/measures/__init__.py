"""What is measured on tables of answers.

Imports base, statistics and evaluation.
"""
