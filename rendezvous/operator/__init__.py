"""What an operator sees and does: metrics, and the API for operators."""
