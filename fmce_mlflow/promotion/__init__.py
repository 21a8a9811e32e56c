"""Promote a registered version where its evaluation meets what is required."""
