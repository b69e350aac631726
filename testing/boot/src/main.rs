//! The one service of a machine that has nothing but a kernel, our init, busybox and the
//! tests: mounts what they look at, and runs each through rawspawn.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use rawspawn::{Command, Feature, Kernel, Mode, OtherFds};

fn main() {
    mount(c"cgroup2", c"/sys/fs/cgroup");
    let _ = std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = Kernel::current();
    println!("boot: Linux {}, {}, {kernel:?}", release.trim(), std::env::consts::ARCH);
    let shares = kernel.is_ok_and(|kernel| kernel.has(Feature::SharedMemory));
    let as_old = kernel.is_ok_and(|kernel| is_as_old_as(kernel, &release));
    // All of them, whatever the first says.
    let failed = tests().iter().filter(|test| !run(test)).count();
    let passed = failed == 0 && shares && as_old;
    println!("boot: {}", if passed { "all passed, in vfork mode" } else { "FAILED" });
    std::process::exit(i32::from(!passed));
}

/// Since when there is what a kernel may lack: a fallback is needed below, and only there.
const SINCE: [(Feature, [u32; 2]); 6] = [
    (Feature::Clone3, [5, 3]),
    (Feature::Pidfd, [5, 3]),
    (Feature::ClearSighand, [5, 5]),
    (Feature::CloseRange, [5, 9]),
    (Feature::ShareFds, [5, 9]),
    (Feature::CloseRangeCloexec, [5, 11]),
];

/// Whether `kernel` lacks what its age makes it lack, and nothing else; says so of each.
fn is_as_old_as(kernel: Kernel, release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    let version = [(); 2].map(|()| numbers.next().unwrap_or(0));
    let is_right = |(feature, since): &(Feature, [u32; 2])| {
        let expected = version >= *since;
        if !expected {
            println!("boot: {feature:?} is not here: its fallback is what is tested");
        }
        kernel.has(*feature) == expected
    };
    let wrong: Vec<_> = SINCE.iter().filter(|feature| !is_right(feature)).collect();
    println!("boot: features not as expected: {wrong:?}");
    wrong.is_empty()
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
