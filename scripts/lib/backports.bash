# shellcheck shell=bash
# Backports of this Debian release, from the same place and under the same key as the machine's own packages.
#
# The mirror is never guessed: the source of our own repeats URI and Signed-By of the entry, deb822 or
# one-line, that already provides this release's main archive.

BACKPORTS_FILE=${APT_DIR:-/etc/apt}/sources.list.d/hedgerow-backports.sources

backports_enable() {
  local codename source
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  [ ! -e "$BACKPORTS_FILE" ] || return 0
  source=$(backports_source "$codename") || die \
    "Cannot find the source of $codename main in ${APT_DIR:-/etc/apt}/sources.list*" \
    "enable $codename-backports by hand, then run this again"
  say "Enabling $codename-backports in $BACKPORTS_FILE (same mirror and key as $codename)"
  printf '# Made by hedgerow for a newer QEMU; remove it whenever you like.\n%s\n' "$source" >"$BACKPORTS_FILE.new"
  mv "$BACKPORTS_FILE.new" "$BACKPORTS_FILE"
  packages_update
}

# backports_source CODENAME: prints a deb822 stanza, or fails when no entry of the release is found
backports_source() {
  local dir=${APT_DIR:-/etc/apt} codename=$1 file found
  for file in "$dir"/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    found=$(_backports_from_deb822 "$codename" "$file")
    [ -z "$found" ] || { printf '%s\n' "$found"; return 0; }
  done
  for file in "$dir"/sources.list "$dir"/sources.list.d/*.list; do
    [ -e "$file" ] || continue
    found=$(_backports_from_one_line "$codename" "$file")
    [ -z "$found" ] || { printf '%s\n' "$found"; return 0; }
  done
  return 1
}

_backports_from_deb822() {
  awk -v codename="$1" '
    function flush(   i, n, suites, is_deb, has_suite) {
      n = split(field["types"], suites, " ")
      for (i = 1; i <= n; i++) if (suites[i] == "deb") is_deb = 1
      n = split(field["suites"], suites, " ")
      for (i = 1; i <= n; i++) if (suites[i] == codename) has_suite = 1
      if (!printed && is_deb && has_suite && tolower(field["enabled"]) != "no") {
        split(field["uris"], uri, " ")
        print "Types: deb\nURIs: " uri[1] "\nSuites: " codename "-backports\nComponents: main"
        if (field["signed-by"] != "") print "Signed-By:" signed
        printed = 1
      }
      delete field; key = ""; signed = ""
    }
    /^#/ { next }
    /^[ \t]*$/ { flush(); next }
    /^[ \t]/ {
      field[key] = field[key] " " $0
      if (key == "signed-by") signed = signed "\n" $0
      next
    }
    {
      at = index($0, ":"); key = tolower(substr($0, 1, at - 1))
      value = substr($0, at + 1); sub(/^[ \t]+/, "", value); sub(/[ \t]+$/, "", value)
      field[key] = value
      if (key == "signed-by" ) signed = value == "" ? "" : " " value
      if (key == "signed-by" && value == "") field[key] = " "
    }
    END { flush() }' "$2"
}

_backports_from_one_line() {
  awk -v codename="$1" '
    /^[ \t]*deb[ \t]/ {
      line = $0; sub(/#.*/, "", line); sub(/^[ \t]*deb[ \t]+/, "", line); signed = ""
      if (match(line, /^\[[^]]*\][ \t]+/)) {
        options = substr(line, 2, RLENGTH - 2); line = substr(line, RLENGTH + 1); sub(/\].*/, "", options)
        n = split(options, option, " ")
        for (i = 1; i <= n; i++) if (option[i] ~ /^signed-by=/) signed = substr(option[i], 11)
      }
      n = split(line, word, " ")
      if (n < 3 || word[2] != codename) next
      print "Types: deb\nURIs: " word[1] "\nSuites: " codename "-backports\nComponents: main"
      if (signed != "") print "Signed-By: " signed
      exit
    }' "$2"
}
