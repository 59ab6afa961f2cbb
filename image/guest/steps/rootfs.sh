# The guest's root tree: files of the packages, their libraries, kernel modules, and our overlay. Sourced by ../build.

readonly libdir=usr/lib/x86_64-linux-gnu

# Fill tree $2 from the unpacked packages $1. Sets kernel_release.
make_rootfs() {
  local x=$1 root=$2 top
  mkdir -p "$root"/{boot,dev,etc/dropbear,home,mnt,proc,root,run,sys,tmp,var/{lib/guest,log}} \
    "$root"/usr/{bin,sbin,lib,lib64} "$root/$libdir"
  for top in bin sbin lib lib64; do ln -s "usr/$top" "$root/$top"; done
  ln -s /run "$root/var/run"
  ln -s /proc/mounts "$root/etc/mtab"
  copy_programs "$x" "$root"
  copy_modules "$x" "$root"
  cp -a "$here/rootfs/." "$root/"
  add_busybox_links "$root"
  add_user "$root"
  chown -R 0:0 "$root"
  chmod 755 "$root"
}

# Copy the files that `contents` names, and every library that they need.
copy_programs() {
  local x=$1 root=$2 package files file
  while read -r package files; do
    for file in $files; do
      [ -e "$x/usr/$file" ] || die "$package holds no $file; correct image/guest/contents"
      install -D -m 755 "$x/usr/$file" "$root/usr/$file"
      copy_libraries "$x" "$root" "$root/usr/$file"
    done
  done < <(listed contents)
  ln -s mke2fs "$root/usr/sbin/mkfs.ext4"
  ln -s mke2fs "$root/usr/sbin/mkfs.ext3"
  ln -s mke2fs "$root/usr/sbin/mkfs.ext2"
  ln -s openssh/sftp-server "$root/usr/lib/sftp-server"
  ln -s dbclient "$root/usr/bin/ssh"
}

# Copy the libraries of program $3, as the packages' own dynamic linker resolves them.
copy_libraries() {
  local x=$1 root=$2 program=$3 list path name
  list=$("$x/$libdir/ld-linux-x86-64.so.2" --library-path "$x/$libdir" --list "$program" 2> /dev/null) || return 0
  grep -q 'not found' <<< "$list" && die "$program needs a library that no package of the plan holds: $list"
  while read -r path; do
    name=${path##*/}
    [ -e "$root/$libdir/$name" ] || install -m 755 "$(readlink -f "$path")" "$root/$libdir/$name"
  done < <(grep -oE "$x/[^ ]+" <<< "$list" | sort -u)
  ln -sf "../../$libdir/ld-linux-x86-64.so.2" "$root/usr/lib64/ld-linux-x86-64.so.2"
  [ -e "$root/$libdir/ld-linux-x86-64.so.2" ] ||
    install -m 755 "$x/$libdir/ld-linux-x86-64.so.2" "$root/$libdir/ld-linux-x86-64.so.2"
}

# Print the modules that `modules` lists for any of the places $1 (an extended regular expression).
module_names() { listed modules | awk -v place="^($1)$" '$1 ~ place { for (n = 2; n <= NF; n++) print $n }'; }

# Print the files, in loading order, of modules $3... of release $2 below tree $1.
module_files() {
  local tree=$1 release=$2 module
  shift 2
  for module in "$@"; do
    modprobe -d "$tree" -S "$release" --show-depends "$module" 2> /dev/null || true
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

copy_modules() {
  local x=$1 root=$2 file target names
  kernel_release=$(ls "$x/usr/lib/modules")
  depmod -b "$x" "$kernel_release"
  mapfile -t names < <(module_names 'boot|root')
  while read -r file; do
    target=$root/usr/lib/modules/$kernel_release/${file#*/modules/"$kernel_release"/}
    install -D -m 644 "$file" "$target"
    case $target in *.xz) xz -d "$target" ;; esac
  done < <(module_files "$x" "$kernel_release" "${names[@]}")
  cp "$x/usr/lib/modules/$kernel_release"/modules.{order,builtin,builtin.modinfo} \
    "$root/usr/lib/modules/$kernel_release/"
  depmod -b "$root" "$kernel_release"
}

# Give every applet of busybox a name, unless a real program or ours has it.
add_busybox_links() {
  local root=$1 applet
  for applet in $("$root/usr/bin/busybox" --list); do
    [ -e "$root/usr/bin/$applet" ] || [ -e "$root/usr/sbin/$applet" ] || [ -L "$root/usr/sbin/$applet" ] ||
      ln -s busybox "$root/usr/bin/$applet"
  done
  ln -s ../bin/busybox "$root/usr/sbin/init"
  ln -sf ../bin/busybox "$root/usr/sbin/modprobe" # the path that the kernel calls
}

add_user() {
  local root=$1 hash
  hash=$("$root/usr/bin/busybox" mkpasswd -m sha512 -S hedgerowguest "$password")
  printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' "$user:x:0:0:guest user:/home/$user:/bin/sh" \
    'nobody:x:65534:65534:nobody:/:/bin/false' > "$root/etc/passwd"
  printf '%s\n' 'root:*:19000::::::' "$user:$hash:19000::::::" 'nobody:*:19000::::::' > "$root/etc/shadow"
  printf '%s\n' 'root:x:0:' 'tty:x:5:' 'nogroup:x:65534:' > "$root/etc/group"
  chmod 600 "$root/etc/shadow"
  mkdir -p "$root/home/$user/.ssh"
  chmod 700 "$root/home/$user" "$root/home/$user/.ssh"
}
