"""Images as MLflow datasets, as tables, and as MLflow's evaluators want them."""
