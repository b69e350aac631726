//! Assembles the child loop of the target's architecture.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_io_pipe)");
    if minor_version().is_some_and(|minor| minor >= 87) {
        println!("cargo::rustc-cfg=has_io_pipe");
    }
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let source = format!("asm/{arch}.S");
    println!("cargo::rerun-if-changed=asm");
    // Without a loop for the architecture, src/arch/mod.rs says so in words.
    if std::path::Path::new(&source).exists() {
        cc::Build::new().file(source).compile("rawspawn_child");
    }
}

/// The N of the compiler's version 1.N.
fn minor_version() -> Option<u32> {
    let rustc = std::env::var_os("RUSTC")?;
    let output = std::process::Command::new(rustc).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.split('.').nth(1)?.parse().ok()
}
