"""Active-learning rounds: choose, label, train, and choose again by what was learned."""
