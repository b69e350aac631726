//! Links without start files, without libraries, and at a fixed address.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../static.ld");
    println!("cargo::rerun-if-changed={script}");
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-T", script] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
