"""MLproject entry point `sync`."""

from fmce_mlflow.cli.main import main

if __name__ == "__main__":
    import sys

    main(args=["sync", *sys.argv[1:]], prog_name="fmce")
