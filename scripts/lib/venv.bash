# shellcheck shell=bash
# The product's own Python environment, made from Debian's python3 and a locked list with hashes.
#
# Each set of locks has a folder of its own beside the environment; the environment is a symbolic link that
# is switched when the folder is complete. So a broken-off installation is never used, a running daemon
# keeps the one that it started from, and two invocations at once wait for each other.

PYTHON=/usr/bin/python3

# venv_ensure REPO VENV LOCK...: makes or refreshes VENV and installs REPO into it, editable
venv_ensure() {
  local repo=$1 venv=$2
  shift 2
  if [ -d "$venv" ] && [ ! -L "$venv" ]; then
    note "using the Python environment $venv as it is (it is not one of ours)"
    return 0
  fi
  mkdir -p "$venv.d"
  exec 9>"$venv.d/lock"
  flock -n 9 || { note "waiting for another installation of $venv"; flock 9; }
  _venv_build "$repo" "$venv" "$@"
  exec 9>&-
}

_venv_build() {
  local repo=$1 venv=$2 digest home self
  shift 2
  digest=$({ "$PYTHON" -V; cat "$@"; } | sha256sum | cut -c1-16)
  home=$venv.d/$digest
  self=$({ printf '%s\n' "$repo"; sed -n '/^\[build-system\]/,/^# -----/p' "$repo/pyproject.toml"; } | sha256sum)

  if [ ! -e "$home/.complete" ]; then
    say "Making the Python environment $venv (once for each change of the locked list)"
    rm -rf "$home"
    "$PYTHON" -m venv "$home" || die "Cannot make a Python environment in $home" \
      "is python3-venv installed, and is there room? look at: df -h $venv.d"
    local lock
    for lock in "$@"; do
      note "installing ${lock##*/} ($(grep -cE '^[a-z0-9].*==' "$lock") packages, with hashes)"
      # No build isolation: what builds the source packages is locked too (requirements-build.lock).
      _venv_pip "$home" --require-hashes --no-build-isolation -r "$lock"
    done
    touch "$home/.complete"
  fi
  if [ "$(cat "$home/.self" 2>/dev/null)" != "$self" ]; then
    note "linking $repo into it"
    _venv_pip "$home" --no-deps --no-build-isolation -e "$repo"
    printf '%s\n' "$self" >"$home/.self"
  fi
  if [ "$(readlink "$venv" 2>/dev/null)" != "$home" ]; then
    ln -sfn "$home" "$venv.d/next"
    mv -T "$venv.d/next" "$venv"
  fi
  _venv_prune "$venv"
}

_venv_pip() {
  local home=$1 log
  shift
  log=$(log_file pip)
  if ! "$home/bin/python" -m pip --disable-pip-version-check --no-input install -q "$@" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    die "pip could not install: $*" \
      "the whole log is $log" \
      "pip uses this machine's own configuration: look at: pip config list, and at the network" \
      "then run this again: it goes on where it was"
  fi
}

# Keep the present one and the one before it: a daemon may still run from that.
_venv_prune() {
  local venv=$1 current old
  current=$(readlink "$venv")
  find "$venv.d" -mindepth 1 -maxdepth 1 -type d ! -path "$current" -printf '%T@ %p\n' | sort -rn | tail -n +2 |
    while read -r _ old; do rm -rf "$old"; done
}

# venv_bytecode REPO: keeps files of root's out of a work tree that belongs to somebody else
venv_bytecode() {
  if [ "$(stat -c %u "$1")" != "$(id -u)" ] && [ -z "${PYTHONPYCACHEPREFIX:-}" ]; then
    export PYTHONPYCACHEPREFIX=/var/cache/hedgerow/pycache
  fi
}
