//! Installs what C programs are compiled and linked with.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Result, root};

/// Where to, and what for.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where programs look for it later.
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
    /// Where the libraries go: below the prefix, if it does not begin with a slash.
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
    let built = Built::new(&root, options.target.as_deref())?;
    let prefix = absolute(&options.prefix)?;
    // An absolute one is where it says.
    let libdir = prefix.join(&options.libdir);
    let place = |folder: &Path, name: &str| {
        let folder = match &options.destdir {
            Some(destdir) => destdir.join(folder.strip_prefix("/").unwrap_or(folder)),
            None => folder.to_owned(),
        };
        fs::create_dir_all(&folder)?;
        let to = folder.join(name);
        // A program that runs keeps the old one.
        let _ = fs::remove_file(&to);
        println!("{}", to.display());
        Ok::<PathBuf, Box<dyn Error>>(to)
    };
    let put = |from: &Path, folder: &Path, name: &str, mode: u32| -> Result<()> {
        let to = place(folder, name)?;
        fs::copy(from, &to).map_err(|error| format!("{}: {error}", to.display()))?;
        Ok(fs::set_permissions(&to, Permissions::from_mode(mode))?)
    };

    let header = root.join("c/rawspawn.h");
    let names = functions(&fs::read_to_string(&header)?, "rawspawn");
    let archive = built.folder()?.join("librawspawn.a");
    pack(built.file("librawspawn_c.a")?, &archive, &names)?;
    put(&archive, &libdir, "librawspawn.a", 0o644)?;
    let (c, posix) = (built.file("librawspawn_c.so"), built.file("librawspawn_posix_spawn.so"));
    if let (Ok(c), Ok(posix)) = (c, posix) {
        put(c, &libdir, SONAME, 0o755)?;
        symlink(SONAME, place(&libdir, "librawspawn.so")?)?;
        put(posix, &libdir, "librawspawn_posix_spawn.so", 0o755)?;
        let archive = built.folder()?.join("librawspawn_posix.a");
        pack(built.file("librawspawn_posix_spawn.a")?, &archive, &defined(posix)?)?;
        put(&archive, &libdir, "librawspawn_posix_spawn.a", 0o644)?;
    } else {
        eprintln!("archives alone: this target has no shared libraries, unless RUSTFLAGS says so");
        let archive = built.file("librawspawn_posix_spawn.a")?;
        put(archive, &libdir, "librawspawn_posix_spawn.a", 0o644)?;
    }

    put(&header, &prefix.join("include"), "rawspawn.h", 0o644)?;
    put(&root.join("c/rawspawn.3"), &prefix.join("share/man/man3"), "rawspawn.3", 0o644)?;
    let description = fs::read_to_string(root.join("c/rawspawn.pc.in"))?
        .replace("@prefix@", &prefix.display().to_string())
        .replace("@libdir@", &Path::new("${prefix}").join(&options.libdir).display().to_string())
        .replace("@version@", env!("CARGO_PKG_VERSION"));
    let file = built.folder()?.join("rawspawn.pc");
    fs::write(&file, description)?;
    put(&file, &libdir.join("pkgconfig"), "rawspawn.pc", 0o644)
}

/// The libraries that cargo has built, wherever it was told to.
struct Built(Vec<PathBuf>);

impl Built {
    fn new(root: &Path, target: Option<&str>) -> Result<Self> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root).args(["build", "--quiet", "--locked", "--profile", "shared"]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        cargo.args(["--package", "rawspawn-c", "--package", "rawspawn-posix-spawn"]);
        if let Some(target) = target {
            cargo.args(["--target", target]);
        }
        let done = cargo.stderr(Stdio::inherit()).output()?;
        if !done.status.success() {
            return Err(format!("cargo: {}", done.status).into());
        }
        let mut files = Vec::new();
        for line in String::from_utf8(done.stdout)?.lines() {
            let message: Value = serde_json::from_str(line)?;
            let names = message["filenames"].as_array().into_iter().flatten();
            files.extend(names.filter_map(Value::as_str).map(PathBuf::from));
        }
        Ok(Self(files))
    }

    /// The library `name`.
    fn file(&self, name: &str) -> Result<&Path> {
        let found = self.0.iter().find(|file| file.ends_with(name));
        found.map(PathBuf::as_path).ok_or_else(|| format!("cargo has built no {name}").into())
    }

    /// Where they are.
    fn folder(&self) -> Result<&Path> {
        self.file("librawspawn_c.a")?.parent().ok_or_else(|| "no folder".into())
    }
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
    if !listed.status.success() {
        return Err(format!("nm: {}", listed.status).into());
    }
    let text = String::from_utf8(listed.stdout)?;
    Ok(text.lines().filter_map(|line| line.split(" T ").nth(1)).map(str::to_owned).collect())
}

/// A tool of the compiler's, which may be another target's, and have options.
fn tool(variable: &str, name: &str) -> Command {
    let given = std::env::var(variable).unwrap_or_default();
    let mut words = given.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(name));
    command.args(words);
    command
}

fn run_it(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}").into()),
        Err(error) => Err(format!("{name}: {error}").into()),
    }
}
