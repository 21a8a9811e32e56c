"""The drawing kit: figures, SVG charts and HTML templates; knows nothing of runs."""
