#!/usr/bin/env bash
# stage.sh TITLE LOG COMMAND...: run a command with its output in .cache/log/LOG.log.
# Shows one line: the title, and the seconds so far where that is a terminal. When the command
# fails, the end of the log follows, and its exit code is this one's.
set -uo pipefail
title=$1 log=.cache/log/$2.log
shift 2
mkdir -p .cache/log
SECONDS=0
if [ -t 1 ]; then
  "$@" >"$log" 2>&1 &
  child=$!
  trap 'kill "$child" 2>/dev/null; printf "\n"; exit 130' INT TERM
  while kill -0 "$child" 2>/dev/null; do
    printf '\r  … %s (%s s)' "$title" "$SECONDS"
    sleep 1
  done
  wait "$child"
  status=$?
  printf '\r\033[K'
else
  "$@" >"$log" 2>&1
  status=$?
fi
if [ "$status" -eq 0 ]; then
  printf '  ✓ %s (%s s)\n' "$title" "$SECONDS"
else
  printf '  ✗ %s (%s s, exit code %s): the end of %s:\n' "$title" "$SECONDS" "$status" "$log"
  tail -n 40 "$log"
fi
exit "$status"
