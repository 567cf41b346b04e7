"""The command `nfopt`, its clock in processor seconds: a budget that other work does not shorten.

    python studies/evidence/clocked.py fit DATA --minutes 3 --threads 1

For calls of one process and one thread: `--minutes` is then what that thread computes.
"""

import time

time.monotonic = time.perf_counter = time.process_time

from nfopt.cli import main  # noqa: E402  reads the clocks above when it is imported

if __name__ == "__main__":
    main()
