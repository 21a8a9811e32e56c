"""Record the snapshots of a training, whatever its loop."""
