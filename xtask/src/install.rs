//! Installs what C programs are compiled and linked with.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, root};

/// Where to, and what for.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where programs look for it later.
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
    /// Below the prefix: where the libraries go.
    #[arg(long, default_value = "lib")]
    libdir: PathBuf,
    /// Put in front of all paths, for packages.
    #[arg(long)]
    destdir: Option<PathBuf>,
    /// The target to build for, instead of this machine's.
    #[arg(long)]
    target: Option<String>,
}

/// The name of the shared library, as programs know it.
const SONAME: &str = "librawspawn.so.0";

/// Builds and installs.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = root();
    let built = build(&root, options.target.as_deref())?;
    let prefix = match &options.destdir {
        // An absolute path replaces what it is joined to.
        Some(dir) => dir.join(options.prefix.strip_prefix("/").unwrap_or(&options.prefix)),
        None => options.prefix.clone(),
    };
    let libraries = prefix.join(&options.libdir);
    let put = |from: &Path, folder: &Path, name: &str| -> Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let to = folder.join(name);
        // A program that runs keeps the old one.
        let _ = fs::remove_file(&to);
        fs::copy(from, &to).map_err(|error| format!("{}: {error}", to.display()))?;
        println!("{}", to.display());
        Ok(to)
    };

    put(&built.join("librawspawn_c.so"), &libraries, SONAME)?;
    let link = libraries.join("librawspawn.so");
    let _ = fs::remove_file(&link);
    symlink(SONAME, &link)?;
    println!("{}", link.display());
    let header = root.join("c/rawspawn.h");
    let names = functions(&fs::read_to_string(&header)?, "rawspawn");
    let archive = built.join("librawspawn.a");
    pack(&built.join("librawspawn_c.a"), &archive, &names)?;
    put(&archive, &libraries, "librawspawn.a")?;

    put(&built.join("librawspawn_posix_spawn.so"), &libraries, "librawspawn_posix_spawn.so")?;
    let archive = built.join("librawspawn_posix.a");
    let names = defined(&built.join("librawspawn_posix_spawn.so"))?;
    pack(&built.join("librawspawn_posix_spawn.a"), &archive, &names)?;
    put(&archive, &libraries, "librawspawn_posix_spawn.a")?;

    put(&header, &prefix.join("include"), "rawspawn.h")?;
    put(&root.join("c/rawspawn.3"), &prefix.join("share/man/man3"), "rawspawn.3")?;
    let description = fs::read_to_string(root.join("c/rawspawn.pc.in"))?
        .replace("@prefix@", &options.prefix.display().to_string())
        .replace("@libdir@", &options.libdir.display().to_string())
        .replace("@version@", env!("CARGO_PKG_VERSION"));
    let file = built.join("rawspawn.pc");
    fs::write(&file, description)?;
    put(&file, &libraries.join("pkgconfig"), "rawspawn.pc")?;
    Ok(())
}

/// Builds the libraries: the folder that they are in.
fn build(root: &Path, target: Option<&str>) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["build", "--quiet", "--profile", "shared"]);
    cargo.args(["--package", "rawspawn-c", "--package", "rawspawn-posix-spawn"]);
    if let Some(target) = target {
        cargo.args(["--target", target]);
    }
    run_it(&mut cargo)?;
    let output =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(output.join(target.unwrap_or_default()).join("shared"))
}

/// Makes an archive of one object of what Rust makes: without its support library, of which
/// nothing is used, and with `names` alone to be seen, so that it can be linked with any other.
fn pack(from: &Path, to: &Path, names: &[String]) -> Result<()> {
    let object = to.with_extension("o");
    let mut link = tool("LD", "ld");
    link.args(["-r", "--gc-sections", "-o"]).arg(&object);
    for name in names {
        link.args(["-u", name]);
    }
    run_it(link.arg(from))?;
    let mut hide = tool("OBJCOPY", "objcopy");
    for name in names {
        hide.args(["--keep-global-symbol", name]);
    }
    run_it(hide.arg(&object))?;
    let _ = fs::remove_file(to);
    run_it(tool("AR", "ar").arg("rcs").arg(to).arg(&object))
}

/// The functions that a header declares whose names begin with `prefix`.
fn functions(header: &str, prefix: &str) -> Vec<String> {
    let declarations = header.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = declarations.filter_map(|line| line.split_once('(').map(|(before, _)| before));
    let names = names.filter_map(|before| before.rsplit([' ', '*']).next());
    names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
}

/// The functions that a shared library defines.
fn defined(library: &Path) -> Result<Vec<String>> {
    let listed = tool("NM", "nm").args(["-D", "--defined-only"]).arg(library).output()?;
    let text = String::from_utf8(listed.stdout)?;
    Ok(text.lines().filter_map(|line| line.split(" T ").nth(1)).map(str::to_owned).collect())
}

/// A tool of the compiler's, which may be another target's.
fn tool(variable: &str, name: &str) -> Command {
    Command::new(std::env::var_os(variable).unwrap_or_else(|| name.into()))
}

fn run_it(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}").into()),
        Err(error) => Err(format!("{name}: {error}").into()),
    }
}
