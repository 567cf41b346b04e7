#!/usr/bin/env bash
# A study on PostgreSQL: one machine begins it, any other one joins in.
#
# NFOPT_STORAGE keeps the password out of command lines, where everyone on the machine can read it.
set -euo pipefail

export NFOPT_STORAGE="postgresql://nfopt:${PGPASSWORD:?}@${PGHOST:-localhost}/nfopt"

case "${1:-}" in
  # once, on the server:  createuser --pwprompt nfopt && createdb --owner nfopt nfopt
  begin) nfopt search "${2:?DATA}" --study shared --minutes 60 --workers 2 ;;
  join) nfopt worker shared --data "${2:?DATA}" ;; # on every other machine; DATA is checked
  look) nfopt status shared ;;
  *)
    echo "usage: $0 begin DATA | join DATA | look" >&2
    exit 2
    ;;
esac
