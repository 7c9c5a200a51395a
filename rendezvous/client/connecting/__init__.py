"""Paths to peers."""
