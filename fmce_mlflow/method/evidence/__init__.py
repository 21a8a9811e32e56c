"""What a module shows of how far it is trained, in groups of named figures."""
