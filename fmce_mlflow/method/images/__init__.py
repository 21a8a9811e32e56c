"""Images: find them, read them, decode them, split them, and make a network's input of them."""
