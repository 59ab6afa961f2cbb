# shellcheck shell=bash
# What the scripts say: steps on standard output, trouble with its next step on standard error.

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# die MESSAGE [NEXT STEP...]
die() {
  printf '\nerror: %s\n' "$1" >&2
  shift
  local step
  for step in "$@"; do printf '  -> %s\n' "$step" >&2; done
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "$1 makes bridges, namespaces and virtual machines, so it needs root" "run: sudo $1 ${*:2}"
}

# log_file NAME: a place for the long output of a step, readable after a failure
log_file() {
  local dir=${HEDGEROW_LOG_DIR:-/var/log/hedgerow}
  mkdir -p "$dir"
  printf '%s/%s.log' "$dir" "$1"
}
