#!/bin/bash
# host.sh NAME FOLDER QEMU: process 1 of a host. Killing it is a power failure: libvirtd and every guest go with it.
# QEMU is a folder with another QEMU, unpacked, or "" for the installed one.
name=$1 folder=$2 qemu=$3
hostname "$name"
# One kernel runs them all: what differs from boot to boot is written anew at each, as a machine's own kernel does.
cat /proc/sys/kernel/random/uuid >"$folder/boot_id"
mount --bind "$folder/boot_id" /proc/sys/kernel/random/boot_id
# A /dev without kvm. It opens here, so libvirt would offer it, but without nested virtualisation nothing boots by it;
# hidden under /dev/null it still looks usable, and libvirt asks QEMU anew what it can do, 4 s long, at each define.
mkdir -p "$folder/dev"
mount -t tmpfs -o mode=755 devices "$folder/dev"
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
  IFS=: read -r node major minor <<<"$device"
  mknod -m 666 "$folder/dev/$node" c "$major" "$minor"
done
mkdir "$folder"/dev/{net,pts,shm}
mknod -m 666 "$folder/dev/net/tun" c 10 200
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$folder/dev/pts"
ln -s pts/ptmx "$folder/dev/ptmx"
ln -s /proc/self/fd "$folder/dev/fd"
mount --move "$folder/dev" /dev
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
if [ -d "$folder/sasl" ]; then   # libsasl looks nowhere else
  mount --bind "$folder/sasl" /etc/sasl2
fi
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
