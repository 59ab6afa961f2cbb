# The disk: boot record, a FAT partition with loader, kernel and initramfs, and the ext4 root, last so that it can
# grow. Each partition is made as a file of its own and put in place, so nothing is ever mounted. Sourced by ../build.

readonly sector_bytes=512 mib_bytes=$((1024 * 1024))
readonly boot_start_mib=1 root_mib=40
readonly kernel_options="console=tty0 console=ttyS0,115200 quiet loglevel=3 panic=5 mitigations=off nokaslr \
no_timer_check tsc=reliable random.trust_cpu=on random.trust_bootloader=on net.ifnames=0 cryptomgr.notests"

# Make the qcow2 $2 from the root tree, kernel and initramfs in $1. Sets disk_size_bytes.
make_disk() {
  local boot_mib kernel=$1/x/boot/vmlinuz-$kernel_release
  boot_mib=$((($(stat -c %s "$kernel") + $(stat -c %s "$1/initrd")) / mib_bytes + 2))
  make_boot_partition "$1/boot.fat" "$boot_mib" "$kernel" "$1/initrd"
  make_root_partition "$1/root.ext4" "$1/root"
  disk_size_bytes=$(((boot_start_mib + boot_mib + root_mib) * mib_bytes))
  truncate -s "$disk_size_bytes" "$1/disk"
  boot_record /usr/lib/syslinux/mbr/mbr.bin "$boot_mib" | dd of="$1/disk" conv=notrunc status=none
  dd if="$1/boot.fat" of="$1/disk" bs=1M seek="$boot_start_mib" conv=notrunc,sparse status=none
  dd if="$1/root.ext4" of="$1/disk" bs=1M seek="$((boot_start_mib + boot_mib))" conv=notrunc,sparse status=none
  qemu-img convert -O qcow2 -c -o compression_type=zstd "$1/disk" "$2"
}

make_boot_partition() {
  local image=$1 size_mib=$2 kernel=$3 initrd=$4
  truncate -s "${size_mib}M" "$image"
  mformat -i "$image" -T $((size_mib * mib_bytes / sector_bytes)) -h 64 -s 32 -c 4 \
    -H $((boot_start_mib * mib_bytes / sector_bytes)) -v BOOT ::
  printf '%s\n' 'DEFAULT guest' 'PROMPT 0' 'NOESCAPE 1' 'LABEL guest' '  KERNEL vmlinuz' '  INITRD initrd' \
    "  APPEND $kernel_options" > "$work/syslinux.cfg"
  mcopy -i "$image" "$kernel" ::vmlinuz
  mcopy -i "$image" "$initrd" ::initrd
  mcopy -i "$image" "$work/syslinux.cfg" ::syslinux.cfg
  syslinux --install "$image"
}

# The features are spelt out: what mke2fs makes by default changes, and the guest's kernel may be older than it.
make_root_partition() {
  truncate -s "${root_mib}M" "$1"
  mke2fs -q -F -t ext4 -b 4096 -m 0 -N 4096 -L hedgerow-root -J size=4 -E resize=268435455,lazy_itable_init=0 \
    -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,\
dir_nlink,extra_isize,metadata_csum -d "$2" "$1"
}

# Print the 512 bytes of the boot record: code from $1, a FAT partition of $2 MiB (active) and the root.
boot_record() {
  local sectors=$((mib_bytes / sector_bytes))
  head -c 440 "$1"
  head -c $((440 - $(stat -c %s "$1"))) /dev/zero
  printf 'HROW\0\0'
  partition_entry 0x80 0x0e $((boot_start_mib * sectors)) $(($2 * sectors))
  partition_entry 0x00 0x83 $(((boot_start_mib + $2) * sectors)) $((root_mib * sectors))
  head -c 32 /dev/zero
  printf '\x55\xaa'
}

# Print the 16 bytes of a partition: flag, type, first sector, sectors. The unused CHS fields say "too large".
partition_entry() {
  bytes "$1" 0xfe 0xff 0xff "$2" 0xfe 0xff 0xff
  little_endian "$3"
  little_endian "$4"
}

little_endian() { bytes $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
bytes() { local b; for b in "$@"; do printf "\\x$(printf %02x "$b")"; done; }
