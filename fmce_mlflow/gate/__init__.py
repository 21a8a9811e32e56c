"""The gate: evaluates registered versions that have not been evaluated yet, and decides on them by a policy."""
