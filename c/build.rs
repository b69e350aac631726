//! Names the shared library, and keeps the C library out of it.

fn main() {
    // The number changes with what a program that is linked to it would notice.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librawspawn.so.0");
    println!("cargo::rustc-cdylib-link-arg=-nostdlib");
}
