# Which Debian packages make the guest, and where their files come from. Sourced by ../build.
# apt-get is asked, never a host: the machine's own apt configuration names the mirror.

# Refuse a machine that cannot build, naming what is missing.
check_machine() {
  [ "$(id -u)" = 0 ] || die "run as root (the files in the image belong to root)"
  [ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 machines can build it"
  local tool missing=
  for tool in cpio mke2fs depmod mcopy qemu-img syslinux xz zstd; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" > /dev/null || missing+=" $tool"
  done
  [ -z "$missing" ] || die "missing:$missing; apt-get install --no-install-recommends $(
    sed 's/#.*//' "$here/packages" | xargs)"
  PATH=$PATH:/usr/sbin:/sbin
}

# Print list $1 without its comments.
listed() { sed 's/#.*//; /^ *$/d' "$here/$1"; }

# Print the name of the newest cloud kernel's package.
kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2> /dev/null | awk '$1 == "Depends:" { print $2; exit }'
}

# Print the shared-library packages that the given ones depend on, directly or not.
library_packages() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "$@" | grep -E '^(lib|zlib1g)' | grep -vE '^lib(pam|semanage|sepol|db5|readline|udev-)' | sort -u
}

# Write "FILE SIZE HASH PACKAGE=VERSION" of every package to file $1.
plan_packages() {
  local own libs
  kernel=${kernel:-$(kernel_package)}
  [ -n "$kernel" ] || die "apt knows no linux-image-cloud-amd64; run apt-get update"
  mapfile -t own < <(listed contents | awk '{ print $1 }')
  mapfile -t libs < <(library_packages "${own[@]}")
  apt-get download --print-uris "$kernel" "${own[@]}" "${libs[@]}" | awk '{ print $2, $3, $4 }' | sort > "$1"
  [ -s "$1" ] || die "apt-get names no packages; run apt-get update"
}

# Print one digest over all that decides what the image holds.
inputs_digest() {
  {
    cat "$1"
    cd "$here" || exit
    find build contents modules steps initramfs rootfs \( -type f -o -type l \) -printf '%m %p %l\n' | sort
    find build contents modules steps initramfs rootfs -type f -print0 | sort -z | xargs -0 sha256sum
  } | sha256sum | cut -d' ' -f1
}

# Tell whether directory $1 holds the image of inputs $2, undamaged.
up_to_date() {
  [ -s "$1/guest.env" ] && [ -s "$1/guest.qcow2" ] && grep -qx "GUEST_INPUTS=$2" "$1/guest.env" &&
    grep -qx "GUEST_SHA256=$(sha256sum < "$1/guest.qcow2" | cut -d' ' -f1)" "$1/guest.env"
}

# Download what of plan $1 is not in cache $2.
fetch_packages() {
  local file size hash wanted=() fetch=$work/fetch
  while read -r file size hash; do
    [ "$(stat -c %s "$2/$file" 2> /dev/null)" = "$size" ] && verify "$2/$file" "$hash" && continue
    file=${file//%3a/:}
    wanted+=("$(cut -d_ -f1 <<< "$file")=$(cut -d_ -f2 <<< "$file")")
  done < "$1"
  [ ${#wanted[@]} -gt 0 ] || return 0
  mkdir -p "$fetch"
  chown _apt "$fetch" 2> /dev/null || true
  (cd "$fetch" && apt-get -qq download "${wanted[@]}") || die "apt-get download failed; run apt-get update"
  mv "$fetch"/*.deb "$2/"
}

# Compare file $1 with "ALGORITHM:HEX" as apt prints it.
verify() {
  case $2 in
    SHA256:*) echo "${2#*:}  $1" | sha256sum --check --status ;;
    SHA512:*) echo "${2#*:}  $1" | sha512sum --check --status ;;
    *) return 0 ;;
  esac
}

# Unpack the packages of plan $1 from cache $2 into one tree $3 with a merged /usr.
unpack_packages() {
  local file size hash top
  mkdir -p "$3/usr/bin" "$3/usr/sbin" "$3/usr/lib" "$3/usr/lib64"
  for top in bin sbin lib lib64; do ln -s "usr/$top" "$3/$top"; done
  while read -r file size hash; do
    # dpkg-deb -x would replace the links of the merged /usr; tar keeps them
    dpkg-deb --fsys-tarfile "$2/$file" | tar -x -C "$3" --keep-directory-symlink --exclude './usr/share/*'
  done < "$1"
}
