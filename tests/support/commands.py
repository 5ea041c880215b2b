"""Commands as `python -m rvos` runs them, but in this process."""

from rvos import __main__


def command(*name):
    """`main(arguments)` of a command, which returns its exit status."""

    def main(arguments):
        try:
            return __main__.main([*name, *arguments])
        except SystemExit as end:
            if end.code != 1:  # a wrong usage
                raise
            return end.code

    return main
