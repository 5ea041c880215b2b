"""`python train.py ...` in a checkout is `rvos train ...`."""

from rvos.errors import one_message

with one_message():
    from rvos.app.train import main

if __name__ == "__main__":
    main()
