//! Compiles the program that is spawned: static, and carried along in the fuzzer.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=c/child.c");
    let child = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("child");
    let mut compiler = cc::Build::new().opt_level(1).get_compiler().to_command();
    compiler.args(["-static", "-Wall", "-Wextra", "-Werror", "-o"]).arg(child).arg("c/child.c");
    let status = compiler.status().expect("a C compiler");
    assert!(status.success(), "{compiler:?}: {status}");
}
