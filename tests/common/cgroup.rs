//! Cgroups of the tests' own.

use std::fs;
use std::path::{Path, PathBuf};

/// A cgroup with a controller, of either version, removed at the end.
pub(crate) struct Controlled {
    path: PathBuf,
    pub(crate) is_version_2: bool,
}

impl Controlled {
    /// A group below any mount that has `controller`, of which a group has one of `files`;
    /// `None`, and says so, where that cannot be.
    pub(crate) fn new(controller: &str, files: &[&str]) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc");
        let group = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (root, kind, options) = (words.next()?, words.next()?, words.next()?);
            let root = Path::new(root);
            match kind {
                "cgroup2" => {
                    let control = root.join("cgroup.subtree_control");
                    let _ = fs::write(control, format!("+{controller}"));
                }
                "cgroup" if options.split(',').any(|option| option == controller) => {}
                _ => return None,
            }
            let path = root.join(format!("rawspawn-{controller}-{}", std::process::id()));
            fs::create_dir(&path).ok()?;
            let group = Self { path, is_version_2: kind == "cgroup2" };
            files.iter().any(|file| group.path.join(file).exists()).then_some(group)
        });
        if group.is_none() {
            super::skip(&format!("the {controller} controller, which is not ours to use"));
        }
        group
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn enter(&self) {
        self.set("cgroup.procs", "0");
    }

    pub(crate) fn set(&self, file: &str, value: &str) {
        let written = fs::write(self.path.join(file), value);
        written.unwrap_or_else(|error| panic!("{}: {file}: {error}", self.path.display()));
    }

    /// Whether `pid` is in it.
    pub(crate) fn has(&self, pid: i32) -> bool {
        let pids = fs::read_to_string(self.path.join("cgroup.procs")).expect("our own cgroup");
        pids.lines().any(|line| line.parse() == Ok(pid))
    }
}

impl Drop for Controlled {
    fn drop(&mut self) {
        // A process that was killed is in it until the kernel has let go of it.
        for _ in 0..500 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("{}: it could not be removed in 5 s", self.path.display());
    }
}
