"""``python -m fmce_mlflow.cli``."""

from fmce_mlflow.cli.main import main

main()
