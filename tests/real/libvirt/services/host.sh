#!/bin/bash
# host.sh NAME FOLDER QEMU: process 1 of a host. Killing it is a power failure: libvirtd and every guest go with it.
# QEMU is a folder with another QEMU, unpacked, or "" for the installed one.
name=$1 folder=$2 qemu=$3
hostname "$name"
# It opens, so libvirt would offer KVM; but without nested virtualisation nothing boots by it.
[ -e /dev/kvm ] && mount --bind /dev/null /dev/kvm
# libvirtd looks its user up before it reads qemu.conf, and without libvirt-daemon-system there is none.
cp /etc/passwd /etc/group "$folder/"
grep -q ^libvirt-qemu: "$folder/passwd" || echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin' >>"$folder/passwd"
for entry in libvirt-qemu:x:64055: kvm:x:64056:; do
  grep -q "^${entry%%:*}:" "$folder/group" || echo "$entry" >>"$folder/group"
done
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/group" /etc/group
mount --bind "$folder/etc" /etc/libvirt
mount --bind "$folder/lib" /var/lib/libvirt
mount --bind "$folder/cache" /var/cache/libvirt
mount --bind "$folder/log" /var/log/libvirt
mount --bind "$folder/run" /run/libvirt
if [ -n "$qemu" ]; then
  for part in usr/bin/qemu-system-x86_64 usr/share/qemu usr/share/seabios usr/lib/x86_64-linux-gnu/qemu; do
    mount --bind "$qemu/$part" "/$part"
  done
fi
/usr/sbin/sshd -D -e -f "$folder/sshd_config" &
/usr/sbin/libvirtd --listen --timeout 0 --pid-file /run/libvirt/libvirtd.pid --config /etc/libvirt/libvirtd.conf &
while :; do wait -n || sleep 1; done   # collects what libvirtd leaves behind
