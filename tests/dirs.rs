//! Root, working directory and umask, seen from the child.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::common::child::assert_refused;
use crate::common::rights::{CHROOT, needs};
use crate::common::{TempDir, each_setup, isolated, report, run, skip};
use rawspawn::{CStrArray, CStrPtr, CurrentDir, Errno, Exec, FdAction, Request, Step};

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

#[test]
fn the_working_directory_is_set_by_path_or_descriptor() {
    isolated(|| {
        let dir = TempDir::new();
        let real = fs::canonicalize(dir.path()).expect("ours");
        let path = c_path(&real);
        let opened = File::open(&real).expect("ours");
        let own = std::env::current_dir().expect("a directory");
        for setup in each_setup() {
            for cwd in [CurrentDir::Path(&path), CurrentDir::Fd(opened.as_raw_fd())] {
                let seen = report(setup, |request| {
                    request.cwd(cwd);
                });
                assert_eq!(Path::new(seen.get("cwd")), real, "{setup:?}, {cwd:?}");
            }
            let seen = report(setup, |_| {});
            assert_eq!(Path::new(seen.get("cwd")), own, "{setup:?}");
            assert_eq!(std::env::current_dir().expect("a directory"), own, "{setup:?}: the parent");
        }
    });
}

#[test]
fn files_are_opened_from_the_callers_directory() {
    isolated(|| {
        let (here, there) = (TempDir::new(), TempDir::new());
        fs::write(here.path().join("file"), "").expect("ours");
        fs::write(there.path().join("file"), "").expect("ours");
        std::env::set_current_dir(here.path()).expect("ours");
        let inode = fs::metadata("file").expect("ours").ino();
        let cwd = c_path(there.path());
        let open = [FdAction::Open { child_fd: 5, path: c"file", flags: 0, mode: 0 }];
        for setup in each_setup() {
            let seen = report(setup, |request| {
                request.cwd(CurrentDir::Path(&cwd)).fds(&open);
            });
            assert_eq!(seen.fd(5).inode, inode, "{setup:?}");
        }
    });
}

#[test]
fn the_umask_holds_for_the_files_that_are_opened_and_for_the_child_alone() {
    isolated(|| {
        // SAFETY: Touches no memory.
        unsafe { libc::umask(0o022) };
        let dir = TempDir::new();
        let path = dir.join("made");
        let flags = libc::O_CREAT | libc::O_WRONLY;
        let open = [FdAction::Open { child_fd: 5, path: &path, flags, mode: 0o666 }];
        for setup in each_setup() {
            assert_eq!(report(setup, |_| {}).number("umask"), 0o022, "{setup:?}");
            for mask in [0, 0o027, 0o777] {
                let seen = report(setup, |request| {
                    request.umask(mask).fds(&open);
                });
                assert_eq!(seen.number("umask"), mask.into(), "{setup:?}");
                let mode = fs::metadata(dir.path().join("made")).expect("made").mode();
                assert_eq!(mode & 0o777, 0o666 & !mask, "{setup:?}, {mask:#o}");
                fs::remove_file(dir.path().join("made")).expect("made");
            }
            // SAFETY: Touches no memory.
            assert_eq!(unsafe { libc::umask(0o022) }, 0o022, "{setup:?}: the parent");
        }
    });
}

#[test]
fn what_is_no_directory_is_refused_at_its_step() {
    static AT_50: [FdAction<'static>; 1] = [FdAction::Map { parent_fd: 0, child_fd: 50 }];
    isolated(|| {
        if !needs(&[CHROOT]) {
            return;
        }
        let null = File::open("/dev/null").expect("/dev/null");
        // SAFETY: Descriptors only.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), 50) }, 50);
        assert_refused(&[
            (|r| _ = r.cwd(CurrentDir::Path(c"/nonexistent")), Step::CurrentDir, Errno::ENOENT),
            (|r| _ = r.cwd(CurrentDir::Path(c"/dev/null")), Step::CurrentDir, Errno::ENOTDIR),
            (|r| _ = r.cwd(CurrentDir::Fd(50)), Step::CurrentDir, Errno::ENOTDIR),
            (|r| _ = r.cwd(CurrentDir::Fd(51)), Step::CurrentDir, Errno::EBADF),
            // It would be another file by then.
            (|r| _ = r.cwd(CurrentDir::Fd(50)).fds(&AT_50), Step::CurrentDir, Errno::EINVAL),
            (|r| _ = r.root(c"/nonexistent"), Step::Root, Errno::ENOENT),
            (|r| _ = r.root(c"/dev/null"), Step::Root, Errno::ENOTDIR),
            (|r| _ = r.umask(0o1000), Step::Umask, Errno::EINVAL),
        ]);
    });
}

/// A program that needs nothing of its root: its status is 0 if there is a file
/// `here` in its working directory, else the errno.
#[cfg(target_arch = "x86_64")]
const PROBE: &str = "
        mov $269, %eax
        mov $-100, %rdi
        lea here(%rip), %rsi
        xor %edx, %edx
        syscall
        neg %eax
        mov %eax, %edi
        mov $231, %eax
        syscall
";
#[cfg(target_arch = "aarch64")]
const PROBE: &str = "
        mov x8, #48
        mov x0, #-100
        adr x1, here
        mov x2, #0
        svc #0
        neg x0, x0
        mov x8, #94
        svc #0
";
#[cfg(target_arch = "riscv64")]
const PROBE: &str = "
        li a7, 48
        li a0, -100
        lla a1, here
        li a2, 0
        ecall
        neg a0, a0
        li a7, 94
        ecall
";

/// Assembles [`PROBE`]; `false`, with the reason printed, where that cannot be.
fn build_probe(dir: &TempDir) -> bool {
    let source = dir.path().join("probe.s");
    let text = format!(".globl _start\n_start:{PROBE}here: .asciz \"here\"\n");
    fs::write(&source, text).expect("ours");
    let built = std::process::Command::new("cc")
        .args(["-static", "-nostdlib", "-o"])
        .arg(dir.path().join("probe"))
        .arg(source)
        .output();
    let works = built.is_ok_and(|output| output.status.success());
    if !works {
        skip("no compiler that links for this machine");
    }
    works
}

#[test]
fn a_changed_root_is_where_the_program_is_found_and_starts() {
    isolated(|| {
        if !needs(&[CHROOT]) {
            return;
        }
        // SAFETY: Touches no memory.
        if unsafe { libc::geteuid() } != 0 {
            skip("only root may change the root");
            return;
        }
        let (root, outside) = (TempDir::new(), TempDir::new());
        if !build_probe(&root) {
            return;
        }
        fs::write(root.path().join("here"), "").expect("ours");
        fs::create_dir(root.path().join("empty")).expect("ours");
        let file = outside.join("here");
        fs::write(outside.path().join("here"), "").expect("ours");
        let out = File::open(outside.path()).expect("ours");
        let path = c_path(root.path());
        let argv = [CStrPtr::new(c"probe"), CStrPtr::NULL];
        let argv = CStrArray::new(&argv).expect("a NULL");
        // A file that only the caller's root has.
        let open = [FdAction::Open { child_fd: 5, path: &file, flags: 0, mode: 0 }];
        let table = [
            // The caller's own directory is outside of the new root.
            (None, 0),
            (Some(CurrentDir::Path(c".")), 0),
            (Some(CurrentDir::Path(c"..")), 0),
            (Some(CurrentDir::Path(c"empty")), libc::ENOENT),
            (Some(CurrentDir::Path(c"/empty")), libc::ENOENT),
            // A descriptor is the caller's, wherever that is.
            (Some(CurrentDir::Fd(out.as_raw_fd())), 0),
        ];
        for setup in each_setup() {
            for (cwd, status) in table {
                let mut request = Request::new(Exec::Path(c"/probe"), argv);
                request.root(&path).fds(&open);
                if let Some(cwd) = cwd {
                    request.cwd(cwd);
                }
                assert_eq!(run(setup, &mut request), status, "{setup:?}, {cwd:?}");
            }
            // A relative path counts from the new root too, and the parent's
            // root is what it was.
            let mut request = Request::new(Exec::Path(c"probe"), argv);
            assert_eq!(run(setup, request.root(&path)), 0, "{setup:?}");
            assert_eq!(fs::read_link("/proc/self/root").expect("/proc"), Path::new("/"));
        }
    });
}
