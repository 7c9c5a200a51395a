"""Offers, answers, candidates and sessions, and the events about them."""
