"""Everything once, on the digits: what `fmce main` does."""
