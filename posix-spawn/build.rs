//! Links the shared library so that it costs as little as can be to load it, which every program
//! does that one with the preload executes: two segments, no code to run, nothing to protect
//! afterwards. The default costs twice as much.

fn main() {
    // GNU's linker, as others have other names for the one segment.
    for argument in ["-fuse-ld=bfd", "-nostartfiles", "-Wl,-z,noseparate-code", "-Wl,-z,norelro"] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
}
