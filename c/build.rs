//! Names the shared library, and keeps the C library out of it.

fn main() {
    // The number changes with what a program that is linked to it would notice.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librawspawn.so.0");
    println!("cargo::rustc-cdylib-link-arg=-nostdlib");
    // Or another compiler's call of something would show in programs.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
}
