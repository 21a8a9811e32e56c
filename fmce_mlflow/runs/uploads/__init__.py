"""How snapshots reach MLflow while a training goes on."""
