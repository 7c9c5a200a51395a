"""Pages of other origins in a real browser, with libraries as npm installs them: ``python -m tests.browser``."""
