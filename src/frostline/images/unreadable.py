"""What is raised where a file gives no pixels."""


class Unreadable(Exception):  # noqa: N818 - a finding about one file, not a fault of the program
    """A file that gives no pixels; the message is the short reason, without the path."""
