# shellcheck shell=bash
# Debian packages: installs what is missing of a list, and asks apt nothing when nothing is.
#
# A list has one package a line: NAME [arch=ARCH] [release=CODENAME] [min=VERSION]   # why
# A package that is older than its `min` comes from the release's backports (see backports.bash).

# packages_wanted FILE...: prints "NAME MIN" (MIN is - without one) for this machine's architecture and release
packages_wanted() {
  local arch release
  arch=$(dpkg --print-architecture)
  release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  awk -v arch="$arch" -v release="$release" '
    { sub(/#.*/, "") }
    NF == 0 { next }
    {
      min = "-"; wanted = 1
      for (i = 2; i <= NF; i++) {
        split($i, pair, "=")
        if (pair[1] == "arch" && pair[2] != arch) wanted = 0
        else if (pair[1] == "release" && pair[2] != release) wanted = 0
        else if (pair[1] == "min") min = substr($i, 5)
      }
      if (wanted && !seen[$1]++) print $1, min
    }' "$@"
}

# packages_missing: reads "NAME MIN" lines, prints those that are absent or too old
packages_missing() {
  local -A have=()
  local -a wanted=()
  local line name min status version
  mapfile -t wanted
  [ ${#wanted[@]} -gt 0 ] || return 0
  while read -r status version name; do
    [ "$status" = ii ] && have[$name]=$version
  done < <(dpkg-query -W -f '${db:Status-Abbrev} ${Version} ${Package}\n' "${wanted[@]%% *}" 2>/dev/null)
  for line in "${wanted[@]}"; do
    read -r name min <<<"$line"
    if [ -z "${have[$name]:-}" ]; then
      printf '%s %s\n' "$name" "$min"
    elif [ "$min" != - ] && dpkg --compare-versions "${have[$name]}" lt "$min"; then
      printf '%s %s\n' "$name" "$min"
    fi
  done
}

# packages_ensure FILE...
packages_ensure() {
  local -a missing plain=() newer=()
  local line name min suite
  mapfile -t missing < <(packages_wanted "$@" | packages_missing)
  [ ${#missing[@]} -gt 0 ] || return 0

  say "Installing ${#missing[@]} Debian packages: ${missing[*]%% *}"
  packages_check_release
  packages_update
  suite=$(. /etc/os-release && printf '%s-backports' "${VERSION_CODENAME:-}")
  for line in "${missing[@]}"; do
    read -r name min <<<"$line"
    if [ "$min" = - ] || dpkg --compare-versions "$(packages_candidate "$name")" ge "$min"; then
      plain+=("$name")
    else
      newer+=("$name")
      packages_available "$name" "$min" || backports_enable
      packages_available "$name" "$min" ||
        die "No $name of version $min or newer is to be had from this machine's package sources" \
          "look at: apt-cache policy $name" "Debian 12 has it in backports, Debian 13 in its main archive"
    fi
  done
  # The newer ones first: the plain ones then need no second version of a shared library.
  [ ${#newer[@]} -eq 0 ] || packages_install -t "$suite" "${newer[@]}"
  [ ${#plain[@]} -eq 0 ] || packages_install "${plain[@]}"
}

packages_check_release() {
  local id version
  id=$(. /etc/os-release && printf '%s' "${ID:-}")
  version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-99}")
  [ "$id" = debian ] || warn "this is not Debian but '$id': package names may differ"
  [ "$id" != debian ] || [ "${version%%.*}" -ge 12 ] ||
    die "Debian $version is too old" "use Debian 12 (bookworm) or 13 (trixie)"
}

packages_candidate() {
  local found
  found=$(LC_ALL=C apt-cache policy "$1" | awk '/Candidate:/ { print $2; exit }')
  [ "$found" = '(none)' ] && found=
  printf '%s' "${found:-0}"
}

# packages_available NAME MIN: is there such a version in any source of this machine?
packages_available() {
  local version
  while read -r version; do
    dpkg --compare-versions "$version" ge "$2" && return 0
  done < <(LC_ALL=C apt-cache madison "$1" 2>/dev/null | awk -F'|' '{ gsub(/ /, "", $2); print $2 }')
  return 1
}

packages_update() {
  local log
  log=$(log_file apt)
  note "reading the package lists (log: $log)"
  if ! apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 update >"$log" 2>&1; then
    warn "apt-get update failed; going on with the lists that are here:"
    grep -E '^(E|W|Err)' "$log" | tail -n 4 >&2 || true
  fi
}

# packages_install [-t SUITE] NAME...
packages_install() {
  local log
  log=$(log_file apt)
  # needrestart and debconf must not ask; recommended packages would start services of their own.
  if ! DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C apt-get -y -q \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
    install --no-install-recommends "$@" 2>&1 </dev/null | tee -a "$log" | packages_progress; then
    tail -n 15 "$log" >&2
    die "apt could not install: $*" \
      "the whole log is $log" \
      "no network, or a proxy is needed? try: apt-get update" \
      "an earlier installation broke off? try: dpkg --configure -a && apt-get -f install" \
      "disk full? look at: df -h / /var"
  fi
}

packages_progress() {
  awk '
    / newly installed/ { for (i = 1; i <= NF; i++) if ($i == "newly") total = $(i - 1) }
    /^Need to get/ { sub(/^Need/, "    need"); print; fflush() }
    /^Setting up/ { done++; if (done % 10 == 0 || done == total) { printf "    %d of %d set up\n", done, total; fflush() } }
    /^E:/ { print "    " $0; fflush() }'
}
