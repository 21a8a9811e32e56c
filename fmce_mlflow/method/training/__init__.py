"""A training loop that yields a snapshot at a time and can be picked up at any of them."""
