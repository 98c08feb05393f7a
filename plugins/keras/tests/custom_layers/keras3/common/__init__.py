"""Helpers in other files."""
