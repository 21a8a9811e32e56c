"""MLproject entry point `overview`."""

from fmce_mlflow.cli.main import main

if __name__ == "__main__":
    import sys

    main(args=["overview", *sys.argv[1:]], prog_name="fmce")
