# Sourced by the commands here.
. .ci/lib.sh

# wheel: builds the wheel, installs it into a fresh environment for each of the
# interpreters that PYTHONS names, the last of which is left in target/python/venv, and
# there runs "$@" for each, from a folder that the package's source is not in.
wheel() {
    local out=$PWD/target/python python
    need_rust
    need python3 python3
    need "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')/ensurepip/__init__.py" \
        python3-venv
    rm -rf "$out" && mkdir -p "$out"
    python3 -m venv "$out/build"
    "$out/build/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.7,<2' mypy ruff
    "$out/build/bin/maturin" build --quiet --release --manifest-path python/Cargo.toml --out "$out"
    cd "$out" || return
    for python in ${PYTHONS:-python3}; do
        rm -rf venv && "$python" -m venv venv
        venv/bin/pip install --quiet --disable-pip-version-check rawspawn-*.whl
        "$@"
    done
}
