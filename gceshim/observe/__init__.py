"""What an operator sees of a running server: metrics, health, and how they are served."""
