#!/bin/sh
# A load for `cargo xtask hits`: ext4 with a git repository (SOURCE) and a database, used as a desk machine uses them. Needs
# root, nbdfuse, losetup, mkfs.ext4, git, sqlite3. After each step the file system is mounted anew, so that what the
# kernel has cached is read once more.
set -eu
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
: "${URI:?}" "${STEP:?}" "${SOURCE:=$PWD}"
here=$(mktemp -d)
mkdir "$here/fuse" "$here/mounted"
cd "$here"
nbdfuse fuse/disk "$URI" &
while [ ! -f fuse/disk ]; do sleep 0.1; done
node=$(losetup --find --show --direct-io=on fuse/disk)
finish() {
    umount --quiet mounted || true
    losetup --detach "$node"
    umount fuse
    wait
    rm -r "$here"
}
trap finish EXIT

mounted() { mount -o noatime "$node" mounted; }
anew() { umount mounted; mounted; }

# Keys by Zipf's law, an exponent of about 1.
lookups() {
    awk -v seed="$1" 'BEGIN { srand(seed); print "PRAGMA cache_size=100;"
        for (i = 0; i < 1500; i++) printf "SELECT length(text) FROM t WHERE id=%d;\n", 1 + (int(exp(rand() * log(600000))) * 7919) % 600000 }' |
        sqlite3 mounted/base.db > found
}

# Some files, the same each time, as a boot reads them.
boot() {
    (cd mounted/tree && git ls-files | awk 'BEGIN { srand(5) } rand() < 0.3' | xargs -r -d '\n' cat > /dev/null)
    anew
}

checkout() {
    git -C mounted/tree checkout --quiet "$1"
    git -C mounted/tree status --short > found
    anew
}

case $STEP in
fill)
    mkfs.ext4 -q -E lazy_itable_init=0 "$node"
    mounted
    git clone --quiet --no-local "$SOURCE" mounted/tree
    cp -r /usr/share/doc mounted/files
    sqlite3 mounted/base.db "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600000)
        INSERT INTO t SELECT i, hex(randomblob(60)) FROM n;"
    sync
    umount mounted
    ;;
work)
    mounted
    head=$(git -C mounted/tree rev-parse HEAD)
    for round in 1 2 3 4 5 6; do
        boot
        for part in 1 2 3; do lookups "$round$part"; anew; done
        checkout "$head~$((round * 8))"
        checkout "$head"
        # Everything, once.
        if [ $((round % 2)) = 0 ]; then
            tar -C mounted -cf - files base.db | cat > /dev/null
            anew
        fi
    done
    ;;
esac
