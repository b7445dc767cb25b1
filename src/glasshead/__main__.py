"""`glasshead …` and `python -m glasshead …`: the project's commands without Kedro's own."""

from pathlib import Path

from kedro.framework.project import configure_project

from glasshead.cli import cli


def main() -> None:
    """Configure the installed project and hand over to its command line."""
    configure_project(Path(__file__).parent.name)
    cli()


if __name__ == "__main__":
    main()
