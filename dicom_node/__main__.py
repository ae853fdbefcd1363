"""`dicom-node`, or `python -m dicom_node`: the command line."""

from dicom_node.commands import asking, fetching, looking, people, ruling, running
from dicom_node.commands.app import app

__all__ = ["asking", "fetching", "looking", "main", "people", "ruling", "running"]


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
