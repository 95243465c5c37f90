"""`python -m tui_runner`."""

from tui_runner.cli.entry import main

if __name__ == "__main__":
    main()
