# Sourced by the scripts here and by ./demo and ./test.

# need COMMAND PACKAGE: sees to it that COMMAND, or a file of that name, is there, by
# Debian's PACKAGE if we may install one; else says what is missing, and fails.
need() {
    [ -e "$1" ] && return
    command -v "$1" > /dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        apt-get update -qq && apt-get install -qq --no-install-recommends "$2" > /dev/null
    fi >&2
    [ -e "$1" ] && return
    command -v "$1" > /dev/null && return
    echo "missing: $1 (Debian: $2)" >&2
    return 1
}

# need_rust: a cargo that is new enough for this crate.
need_rust() {
    need cc gcc && need ld binutils && need /usr/include/stdio.h libc6-dev || return
    if ! command -v cargo > /dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    need cargo cargo || return
    local wanted=85 minor
    minor=$(rustc --version | cut -d. -f2)
    [ "$minor" -ge "$wanted" ] && return
    echo "missing: Rust 1.$wanted or newer (found: $(rustc --version))" >&2
    return 1
}

# skip WHAT WHY: says that WHAT is left out. With CI set nothing may be.
skip() {
    echo "skipped: $1, $2"
    [ -z "${CI:-}" ]
}

# mirror: where this machine gets Debian's packages from.
mirror() {
    # shellcheck disable=SC2016 # apt-get's own variable
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1
}

# package FILE ARCHITECTURE SUITE NAME: downloads the newest package whose name matches the
# pattern NAME, checked by the archive's index, and extracts the members that match FILE to
# standard output as a tar archive. Kept under target/packages, where each file appears whole,
# as several of us may want it at once.
package() {
    local file=$1 architecture=$2 suite=$3 name=$4 store=target/packages index path sum deb new
    mkdir -p "$store"
    new=$store/new.$BASHPID
    index=$store/$suite-$architecture.index
    if [ ! -s "$index" ]; then
        curl -fsS --retry 3 "$(mirror)/dists/$suite/main/binary-$architecture/Packages.xz" |
            xz -d > "$new" && mv "$new" "$index" || return
    fi
    read -r path sum < <(awk -v name="$name" '
        $1 == "Package:" { found = $2 ~ "^" name "$" }
        found && $1 == "Filename:" { path = $2 }
        found && $1 == "SHA256:" { sum = $2 }
        $0 == "" && found { print path, sum; found = 0 }' "$index" | sort -V | tail -n 1)
    [ -n "$path" ] || { echo "no package $name for $architecture in $suite" >&2; return 1; }
    deb=$store/${path##*/}
    if [ ! -s "$deb" ]; then
        curl -fsS --retry 3 -o "$new" "$(mirror)/$path" && mv "$new" "$deb" || return
    fi
    echo "$sum  $deb" | sha256sum --check --quiet >&2 || return
    dpkg-deb --fsys-tarfile "$deb" | tar --wildcards --to-stdout -xf - "$file"
}

# tell_skipped FILE: says what the tests have written to FILE: what was left out, and how
# many tests did not run as a whole.
tell_skipped() {
    [ -s "$1" ] || return 0
    sort -u "$1" | sed 's/^/skipped: /'
    echo "left out, in whole or in part: $(sed 's/: .*//' "$1" | sort -u | wc -l) tests"
}
