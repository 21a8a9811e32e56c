"""Train backbones, each as one MLflow run."""
