"""MLproject entry point `train_backbone`."""

from fmce_mlflow.cli.main import main

if __name__ == "__main__":
    import sys

    main(args=["train-backbone", *sys.argv[1:]], prog_name="fmce")
