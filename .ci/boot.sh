# Sourced by the scripts here that boot a kernel.

need cpio cpio
need curl curl
need xz xz-utils

# executables NAME: writes what cargo's messages name as such to target/cross/NAME.tests.
executables() {
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' > "target/cross/$1.tests"
}

# c_suite NAME COMPILER PROGRAMS: the tests of the library for C, which is in PROGRAMS, without a C
# library, to be booted with the executables of NAME.
c_suite() {
    local program=$PWD/target/cross/$1.suite
    "$2" -std=c11 -O1 -Ic -ffreestanding -nostdlib -static c/tests/suite.c c/tests/start.c \
        "$3/shared/librawspawn_c.a" -o "$program"
    echo "$program" >> "target/cross/$1.tests"
}

# boot NAME PROGRAMS STRIP ARCHITECTURE SUITE KERNEL CONSOLE QEMU...: boots Debian's newest
# KERNEL of SUITE with the init of examples-static/, whose one service runs the executables that
# target/cross/NAME.tests lists. Both programs are in PROGRAMS, the init in that of
# the profile static. What is said is in target/cross/NAME.SUITE.log.
boot() {
    local name=$1 programs=$2 strip=$3 architecture=$4 suite=$5 kernel=$6 console=$7 test
    shift 7
    local base=target/cross/$name.$suite
    local root=$base.root log=$base.log
    package '*/vmlinu*' "$architecture" "$suite" "$kernel" > "$base.kernel"
    rm -rf "$root" && mkdir -p "$root"/{bin,tests,dev,proc,sys,tmp,etc}
    # Static, and so whatever suite it is from.
    package '*/bin/busybox' "$architecture" "${BUSYBOX_SUITE:-$suite}" busybox-static \
        > "$root/bin/busybox"
    chmod +x "$root/bin/busybox"
    for applet in sh echo cat true false sleep env test tr sort ls head yes grep hostname id; do
        ln -s busybox "$root/bin/$applet"
    done
    cp "$programs/static/rawspawn-init" "$root/init"
    cp "$programs/debug/rawspawn-boot" "$root/bin/run-tests"
    echo 'tests once - run-tests' > "$root/etc/rawspawn.services"
    while read -r test; do
        "$strip" -o "$root/tests/$(basename "$test" | sed 's/-[0-9a-f]*$//')" "$test"
    done < "target/cross/$name.tests"
    (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) > "$base.initrd"
    timeout 1200 "$@" -accel tcg -smp 2 -m 2G -nographic -no-reboot -nic none \
        -kernel "$base.kernel" -initrd "$base.initrd" -append "console=$console quiet panic=-1 \
        PATH=/bin RAWSPAWN_TEST_CHILDREN=100 RAWSPAWN_TEST_SECONDS=900 TEST_ARGUMENTS=--quiet ${BOOT_OPTIONS:-}" \
        < /dev/null | tr -d '\r' > "$log" || :
    grep -aE '^boot: |^init: |^test result|^suite.c|checks, |skipped:|FAILED|panicked' "$log"
    grep -aqx 'boot: all passed, in vfork mode' "$log" &&
        grep -aqx 'tests: exit status: 0' "$log" &&
        grep -aqx 'init: all services have stopped' "$log"
}
