//! Assembles the child loop of the target's architecture.

fn main() {
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let source = format!("asm/{arch}.S");
    println!("cargo::rerun-if-changed=asm");
    // Without a loop for the architecture, src/arch/mod.rs says so in words.
    if std::path::Path::new(&source).exists() {
        cc::Build::new().file(source).compile("rawspawn_child");
    }
}
