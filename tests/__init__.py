"""The tests: ``trial tests`` runs all of them."""
