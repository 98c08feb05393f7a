"""Emission: nodes by their rules, composites by their bodies."""
