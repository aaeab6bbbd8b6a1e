#!/bin/busybox sh
# The first and only process of the guest. What it says to the host begins with GUEST.
/bin/busybox mkdir -p /dev /mnt /proc /sys /scratch
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox --install -s /bin
export PATH=/bin:/sbin

say() { echo "GUEST $*"; }
fail() { say "failed: $*"; poweroff -f; }

while read -r module; do insmod "/modules/$module" || fail "insmod $module"; done < /modules/order
say "cache $(cat /sys/block/vda/queue/write_cache)"
round=$(sed 's/.*esker\.round=\([a-z0-9]*\).*/\1/' /proc/cmdline)

if [ "$round" = 0 ]; then
    mkfs.ext4 -q -F /dev/vda || fail mkfs
else
    # The kernel replays the journal; fsck has nothing left to repair then.
    mount -t ext4 /dev/vda /mnt || fail "mount after the power cut"
    umount /mnt || fail umount
    e2fsck -f -n /dev/vda > /scratch/fsck 2>&1 || { cat /scratch/fsck; fail fsck; }
    say "fsck clean"
fi
mount -t ext4 /dev/vda /mnt || fail mount
for file in /mnt/f*; do
    [ -f "$file" ] && say "found ${file#/mnt/} $(sha256sum < "$file" | cut -d' ' -f1) ."
done
say "found everything"
if [ "$round" = last ]; then
    umount /mnt || fail "last umount"
    say "done"
    poweroff -f
fi

number=0
while true; do
    size=$((number * 7919 % 300 + 1))
    dd if=/dev/urandom of=/scratch/new bs=1k count=$size 2> /dev/null
    hash=$(sha256sum < /scratch/new | cut -d' ' -f1)
    # Something that is never synced lies between the files that are.
    dd if=/scratch/new of=/mnt/unsynced bs=1k seek=$size conv=notrunc 2> /dev/null
    dd if=/scratch/new of=/mnt/f$round.$number bs=64k conv=fsync 2> /dev/null || fail "write f$round.$number"
    say "synced f$round.$number $hash ."
    number=$((number + 1))
done
