# shellcheck shell=bash
# The system user that libvirt wants to find.
#
# libvirtd looks its compiled-in user up before it reads a configuration that names another, and does not start without
# it. Debian 12 makes that user in libvirt-daemon-system, whose services we do without: so it is made here, as Debian
# does it (same numbers: a later installation of that package finds its own user).

LIBVIRT_ID=64055

users_ensure() {
  if ! getent group kvm >/dev/null; then groupadd --system kvm; fi
  if ! getent group libvirt-qemu >/dev/null; then
    _user_made groupadd --system -K SYS_GID_MAX=65000 --gid "$LIBVIRT_ID" libvirt-qemu
  fi
  if ! getent passwd libvirt-qemu >/dev/null; then
    _user_made useradd --system -K SYS_UID_MAX=65000 --uid "$LIBVIRT_ID" --gid kvm --groups libvirt-qemu \
      --comment "Libvirt Qemu" --home-dir /var/lib/libvirt --no-create-home --shell /usr/sbin/nologin libvirt-qemu
  fi
}

_user_made() {
  "$@" || die "Cannot make the system user libvirt-qemu, and libvirtd does not start without it" \
    "is $LIBVIRT_ID taken? look at: getent passwd $LIBVIRT_ID; getent group $LIBVIRT_ID" \
    "or let Debian make it: apt-get install libvirt-daemon-system"
}
