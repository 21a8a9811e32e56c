"""MLproject entry point `tune_fmce_net`."""

from fmce_mlflow.cli.main import main

if __name__ == "__main__":
    import sys

    main(args=["tune-fmce-net", *sys.argv[1:]], prog_name="fmce")
