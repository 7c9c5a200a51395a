"""Coverage-guided fuzzing of the UDP port: what is run, and what has been found."""
