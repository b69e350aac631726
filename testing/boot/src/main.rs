//! PID 1 of a machine that has nothing but a kernel, busybox and the tests: mounts
//! what they look at, runs each through rawspawn, and turns the machine off.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use rawspawn::{Command, Feature, Kernel, Mode, OtherFds};

fn main() {
    for (kind, place) in [
        (c"proc", c"/proc"),
        (c"sysfs", c"/sys"),
        (c"devtmpfs", c"/dev"),
        (c"devpts", c"/dev/pts"),
        (c"tmpfs", c"/tmp"),
        (c"cgroup2", c"/sys/fs/cgroup"),
    ] {
        mount(kind, place);
    }
    let _ = std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = Kernel::current();
    println!("boot: Linux {}, {}, {kernel:?}", release.trim(), std::env::consts::ARCH);
    let shares = kernel.is_ok_and(|kernel| kernel.has(Feature::SharedMemory));
    // All of them, whatever the first says.
    let failed = tests().iter().filter(|test| !run(test)).count();
    println!(
        "boot: {}",
        if failed == 0 && shares { "all passed, in vfork mode" } else { "FAILED" }
    );
    // SAFETY: Nothing is left to be written.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
}

fn mount(kind: &CStr, place: &CStr) {
    let _ = std::fs::create_dir_all(place.to_str().unwrap_or_default());
    // SAFETY: C strings; the kernel takes no data.
    unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
}

/// The executables of the tests.
fn tests() -> Vec<PathBuf> {
    let files = std::fs::read_dir("/tests").into_iter().flatten().flatten();
    let mut tests: Vec<_> = files.map(|file| file.path()).collect();
    tests.sort();
    tests
}

/// Runs a test executable; whether it passed, started in shared memory.
fn run(test: &Path) -> bool {
    println!("boot: {}", test.display());
    let arguments = std::env::var("TEST_ARGUMENTS").unwrap_or_default();
    let mut command = Command::new(test);
    command.args(arguments.split_whitespace()).current_dir("/tmp").other_fds(OtherFds::Close);
    match command.try_spawn() {
        Ok(mut child) => {
            let mode = child.mode();
            let status = child.wait();
            println!("boot: {}, {mode:?}: {status:?}", test.display());
            mode == Mode::Vfork && status.is_ok_and(|status| status.success())
        }
        Err(error) => {
            println!("boot: {}: {error}", test.display());
            false
        }
    }
}
