"""What every stage that makes files shares: stores, run folders, the runner, devices, progress."""
