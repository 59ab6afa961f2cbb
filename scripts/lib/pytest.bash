# shellcheck shell=bash
# Runs pytest; what fails is repeated once, alone.
#
# Real processes on a machine that is shared meet delays that no deadline foresees, and a change must not be refused for
# one of them. But nothing is hidden: each such test is printed and kept in UNSTEADY, and is a fault to be mended; more
# than three in a stage are no accident, and fail it.

UNSTEADY=()
MOST_UNSTEADY=3

# pytest_twice PYTHON ARGUMENT...: 0 when everything passed, if need be the second time; else pytest's own status
pytest_twice() {
  local python=$1 cache status=0 failed=()
  shift
  cache=$(mktemp -d)
  "$python" -m pytest -q -o cache_dir="$cache" "$@" || status=$?
  if [ "$status" -eq 1 ]; then
    mapfile -t failed < <("$python" -c 'if True:
      import json, sys
      print(*json.load(open(sys.argv[1])), sep="\n")' "$cache/v/cache/lastfailed")
    if [ ${#failed[@]} -gt 0 ] && [ ${#failed[@]} -le $MOST_UNSTEADY ]; then
      note "once more, alone: ${failed[*]}"
      status=0
      "$python" -m pytest -q -o cache_dir="$cache" "${failed[@]}" || status=$?
      [ "$status" -ne 0 ] || UNSTEADY+=("${failed[@]}")
    fi
  fi
  rm -rf "$cache"
  return "$status"
}
