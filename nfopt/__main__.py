"""`python -m nfopt`: the command line."""

from nfopt.cli import main

if __name__ == "__main__":
    main()
