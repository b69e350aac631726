# Sourced by the scripts here and by ./demo and ./test.

# need COMMAND PACKAGE: sees to it that COMMAND is there, by Debian's PACKAGE if
# we may install one; else says what is missing, and fails.
need() {
    command -v "$1" > /dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        apt-get update -qq && apt-get install -qq --no-install-recommends "$2" > /dev/null
    fi >&2
    command -v "$1" > /dev/null && return
    echo "missing: $1 (Debian: $2)" >&2
    return 1
}

# need_rust: a cargo that is new enough for this crate.
need_rust() {
    need cc gcc && need ld binutils || return
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
