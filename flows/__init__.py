"""Prefect flows that run the DVC graph in parallel on a Ray cluster."""
