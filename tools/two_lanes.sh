#!/usr/bin/env bash
# two_lanes.sh PYTEST FOLDER...: run all tests in two processes: those of the folders, which wait for
# no clock, at a low priority and into a log; all others before your eyes. Fails if either fails.
set -uo pipefail
pytest=$1
shift
log=.cache/log/virtual-time.log
mkdir -p .cache/log
nice -n 5 "$pytest" --timeout 600 "$@" >"$log" 2>&1 &
lane=$!
trap 'kill "$lane" 2>/dev/null; exit 130' INT TERM

others=()
for folder in tests/*/; do
  folder=${folder%/}
  case " $* tests/testbed tests/faultbed tests/e2e " in
    *" $folder "*) ;;
    *) [ -n "$(find "$folder" -name 'test_*.py' -print -quit)" ] && others+=("$folder") ;;
  esac
done
"$pytest" "${others[@]}"
status=$?

printf '\n=== in virtual time: %s ===\n' "$*"
wait "$lane"
beside=$?
cat "$log"
exit $((status > beside ? status : beside))
