"""`python predict.py ...` in a checkout is `rvos predict ...`."""

from rvos.errors import one_message

with one_message():
    from rvos.app.predict import main

if __name__ == "__main__":
    main()
