"""`python -m hydragraph_cli` is `hydragraph`."""

from hydragraph_cli.main import main

if __name__ == "__main__":
    main()
