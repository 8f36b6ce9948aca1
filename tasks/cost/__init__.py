"""What a comparison costs: `python -m tasks.cost`.

Imports atcore, the stages and all other folders here.
"""
