//! Links the shared library so that it costs as little as can be to load it, which every program
//! does that one with the preload executes: two segments, no code to run, nothing to protect
//! afterwards; on `x86_64`, no symbol looked up. The default costs twice as much.

use std::env;

fn main() {
    // GNU's linker, as others have other names for the one segment.
    let mut arguments = vec!["-fuse-ld=bfd", "-nostartfiles"];
    arguments.extend(["-Wl,-z,noseparate-code", "-Wl,-z,norelro", "-Wl,-z,lazy"]);
    // What it calls of its own is not looked up either.
    arguments.push("-Wl,-Bsymbolic");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        arguments.extend([
            "-Wl,--defsym,memcpy=rawspawn_memmove",
            "-Wl,--defsym,memmove=rawspawn_memmove",
            "-Wl,--defsym,memset=rawspawn_memset",
            "-Wl,--defsym,bcmp=rawspawn_bcmp",
            "-Wl,--defsym,strlen=rawspawn_strlen",
        ]);
    }
    for argument in arguments {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
}
