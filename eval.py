"""`python eval.py ...` in a checkout is `rvos eval ...`."""

from rvos.errors import one_message

with one_message():
    from rvos.app.eval import main

if __name__ == "__main__":
    main()
