"""Sphinx's configuration. It runs the version's module by path, so that building the docs imports nothing else."""

import runpy
from pathlib import Path

project = "Rendezvous"
author = "The Rendezvous founders"
copyright = "The Rendezvous founders"
release = runpy.run_path(str(Path(__file__).parents[1] / "rendezvous" / "_version.py"))["__version__"]
version = release

html_theme = "furo"
html_title = f"{project} {release}"
exclude_patterns = ["_build"]
