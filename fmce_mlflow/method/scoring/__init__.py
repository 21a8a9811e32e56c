"""Score the functional modules of a network: images in batches, maps in bags, a score for each bag."""
