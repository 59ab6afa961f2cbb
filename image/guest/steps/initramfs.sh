# The initramfs: busybox, the disk drivers, and one script that finds and grows the root. Sourced by ../build.

# Pack the initramfs $2 from the guest's root tree $1.
make_initramfs() {
  local root=$1 tree=$work/initramfs modules=lib/modules/$kernel_release file target applet names
  mkdir -p "$tree"/{bin,dev,proc,sys,root} "$tree/$modules"
  cp "$root/usr/bin/busybox" "$tree/bin/busybox"
  for applet in $("$tree/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
  done
  cp "$root/$modules"/modules.{order,builtin,builtin.modinfo} "$tree/$modules/"
  mapfile -t names < <(module_names boot)
  while read -r file; do
    target=$tree/$modules/${file#*/modules/"$kernel_release"/}
    install -D -m 644 "$file" "$target"
  done < <(module_files "$root" "$kernel_release" "${names[@]}")
  depmod -b "$tree" "$kernel_release"
  rm -f "$tree/$modules"/modules.builtin.* "$tree/$modules"/*.bin
  install -m 755 "$here/initramfs/init" "$tree/init"
  (cd "$tree" && find . | sort | cpio --quiet -o -H newc -R 0:0 | zstd -q -10 -T0) > "$2"
}
