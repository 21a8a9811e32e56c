"""MLproject entry point `build_fmcs`."""

from fmce_mlflow.cli.main import main

if __name__ == "__main__":
    import sys

    main(args=["build-fmcs", *sys.argv[1:]], prog_name="fmce")
