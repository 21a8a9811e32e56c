"""What keeps files, secrets and runs safe: bounded reading, the one retry, interrupts, credentials."""
