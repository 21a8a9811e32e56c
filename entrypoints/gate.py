"""MLproject entry point `gate`."""

from fmce_mlflow.cli.main import main

if __name__ == "__main__":
    import sys

    main(args=["gate", *sys.argv[1:]], prog_name="fmce")
