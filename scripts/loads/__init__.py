"""Loads and kills that are too heavy for the tests: ``scripts/load``."""
