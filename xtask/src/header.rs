//! The header, made from the definitions in Rust, so that it cannot say anything else.

use std::fs;
use std::path::Path;

use crate::{Result, root};

/// Writes the header, or checks that it need not be written.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = root();
    let (header, made) = (root.join("c/rawspawn.h"), made(&root.join("c"))?);
    if !check {
        return Ok(fs::write(header, made)?);
    }
    if fs::read_to_string(header)? == made {
        Ok(())
    } else {
        Err("c/rawspawn.h is not what c/src says: `cargo xtask header` makes it anew".into())
    }
}

fn made(member: &Path) -> Result<String> {
    let config = cbindgen::Config::from_file(member.join("cbindgen.toml"))?;
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(member.join("src/abi.rs"))
        .with_src(member.join("src/lib.rs"))
        .generate()?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    Ok(String::from_utf8(text)?)
}
