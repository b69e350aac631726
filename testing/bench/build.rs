//! Compiles the peers that are C, and what brings a process into a state.

fn main() {
    println!("cargo::rerun-if-changed=c");
    cc::Build::new().files(["c/spawn.c", "c/state.c"]).compile("rawspawn_bench");
}
