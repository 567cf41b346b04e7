#!/usr/bin/env bash
# The same search with its workers as tasks of Ray: pip install 'nfopt[ray,postgres]'
#
# Without RAY_ADDRESS, Ray starts on this machine. On a cluster (ray start --head; ray start
# --address=HEAD:6379 elsewhere) every node needs nfopt and the data at the same path, and a storage
# that it can reach. --threads is what each worker gets; with --device cuda each has one GPU.
# Ray runs its workers with niceness 15; RAY_worker_niceness=0 where a machine does other work, too.
set -euo pipefail

: "${NFOPT_STORAGE:?a URL that all nodes reach, such as postgresql://USER:PASSWORD@HOST/NAME}"
nfopt search "${1:?DATA}" --study ray --engine ray --workers 8 --threads 4 --minutes 60
