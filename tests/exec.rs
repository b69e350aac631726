//! Which program is executed, and which error is reported if none can be.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use rawspawn::{
    CStrArray, CStrPtr, CurrentDir, Errno, Exec, FdAction, Feature, Request, Step, argv,
};

use crate::common::rights::{EXECVEAT, SECCOMP, needs};
use crate::common::seccomp::{Question, supervised};
use crate::common::{
    Reporter, Room, TempDir, each_setup, failure, finish, isolated, quick, run, without_stub,
};

/// Makes an executable file.
fn executable(dir: &TempDir, name: &str, content: &str) -> CString {
    let path = dir.path().join(name);
    std::fs::write(&path, content).expect("our directory");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("our file");
    dir.join(name)
}

/// A script that exits with `status`.
fn script(dir: &TempDir, name: &str, status: u8) -> CString {
    executable(dir, name, &format!("#!/bin/sh\nexit {status}\n"))
}

#[test]
fn a_name_is_looked_up_in_the_path_that_is_given_or_the_childs_own() {
    isolated(|| {
        let (one, two) = (TempDir::new(), TempDir::new());
        script(&one, "only-in-one", 11);
        script(&two, "in-both", 22);
        script(&one, "in-both", 21);
        let path = |text: String| CString::new(text).expect("no NUL");
        let (dir1, dir2) = (one.path().display(), two.path().display());
        let both = path(format!("PATH={dir2}:{dir1}"));
        let env = [CStrPtr::new(c"A=1"), CStrPtr::new(&both), CStrPtr::NULL];
        let env = CStrArray::new(&env).expect("a NULL");
        let given = path(format!("/nonexistent:{dir1}:{dir2}"));
        for setup in each_setup() {
            for (name, path, status) in [
                (c"in-both", None, 22),
                (c"only-in-one", None, 11),
                (c"in-both", Some(given.to_bytes()), 21),
            ] {
                let mut request = Request::new(Exec::Search { name, path }, argv![c"program"]);
                assert_eq!(run(setup, request.env(env)), status, "{setup:?}: {name:?}");
            }
            // An empty element is the child's working directory, at both ends and
            // in the middle.
            let here = one.join(".");
            for path in ["", ":/nonexistent", "/nonexistent:", "/nonexistent::/nonexistent"] {
                let search = Exec::Search { name: c"only-in-one", path: Some(path.as_bytes()) };
                let mut request = Request::new(search, argv![c"program"]);
                request.cwd(CurrentDir::Path(&here));
                assert_eq!(run(setup, &mut request), 11, "{setup:?}: {path:?}");
            }
            // A relative one too, and a name with a slash is not looked up.
            let above = one.join("..");
            let relative = one.path().file_name().and_then(|name| name.to_str()).expect("a name");
            for (name, path) in
                [("only-in-one".to_owned(), relative), (format!("{relative}/only-in-one"), "/x")]
            {
                let name = CString::new(name).expect("no NUL");
                let search = Exec::Search { name: &name, path: Some(path.as_bytes()) };
                let mut request = Request::new(search, argv![c"program"]);
                request.cwd(CurrentDir::Path(&above));
                assert_eq!(run(setup, &mut request), 11, "{setup:?}: {name:?}");
            }
        }
    });
}

#[test]
fn the_default_path_is_searched_where_the_child_has_none() {
    isolated(|| {
        for setup in each_setup() {
            let search = Exec::Search { name: c"sh", path: None };
            let mut request = Request::new(search, argv![c"sh", c"-c", c"exit 5"]);
            assert_eq!(run(setup, request.env(CStrArray::EMPTY)), 5, "{setup:?}");
        }
    });
}

#[test]
fn the_error_is_the_first_that_is_more_than_not_found() {
    isolated(|| {
        let dir = TempDir::new();
        let denied = dir.join("denied");
        std::fs::write(dir.path().join("denied"), "").expect("our directory");
        let strange = executable(&dir, "strange", "no program\n");
        let mut below = denied.clone().into_bytes();
        below.extend(b"/below");
        let below = CString::new(below).expect("no NUL");
        let (missing, other) = (c"/nonexistent/one", c"/nonexistent/two");
        let (denied, strange, below) = (&*denied, &*strange, &*below);
        let table: &[(&[&CStr], usize, Errno)] = &[
            (&[missing, other], 1, Errno::ENOENT),
            (&[missing, below], 1, Errno::ENOTDIR),
            (&[below, missing], 1, Errno::ENOENT),
            (&[denied, missing], 0, Errno::EACCES),
            (&[missing, denied, other], 1, Errno::EACCES),
            (&[strange, denied, missing], 0, Errno::ENOEXEC),
            (&[missing, denied, strange], 1, Errno::EACCES),
        ];
        let (exe, quick_argv) = quick(9);
        for setup in each_setup() {
            for &(candidates, index, errno) in table {
                let mut request = Request::new(Exec::Candidates(candidates), argv![c"program"]);
                let error = failure(setup, &mut request);
                let found = (error.step(), error.index(), error.errno());
                assert_eq!(found, (Step::Exec, index, Some(errno)), "{setup:?}: {candidates:?}");
                // Whatever failed, the next is tried.
                let mut more = candidates.to_vec();
                more.push(exe);
                let mut request = Request::new(Exec::Candidates(&more), quick_argv);
                assert_eq!(run(setup, &mut request), 9, "{setup:?}: {more:?}");
            }
        }
    });
}

#[test]
fn arguments_and_environment_arrive_as_given() {
    isolated(|| {
        let reporter = Reporter::new(&["", "two words", "\u{e9}\t", "--"]);
        let env = argv![c"ONE=1", c"EMPTY=", c"no equals sign", c"ONE=2"];
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(reporter.exe), reporter.argv);
            setup.apply(request.env(env));
            let seen = finish(&reporter, setup, &request);
            assert!(seen.get("argv").starts_with("reporter|"), "{setup:?}");
            assert!(seen.get("argv").ends_with("||two words|\u{e9}\t|--|"), "{setup:?}");
            assert_eq!(seen.get("environ"), "ONE=1|EMPTY=|no equals sign|ONE=2|", "{setup:?}");
        }
    });
}

#[test]
fn a_program_is_executed_by_its_descriptor() {
    isolated(|| {
        if !needs(&[EXECVEAT]) {
            return;
        }
        let (exe, argv) = quick(8);
        let exe = exe.to_str().expect("a plain path");
        let plain = File::open(exe).expect("our executable");
        let path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(exe);
        let path = path.expect("our executable");
        for setup in each_setup() {
            for file in [&plain, &path] {
                let mut request = Request::new(Exec::Fd(file.as_raw_fd()), argv);
                assert_eq!(run(setup, &mut request), 8, "{setup:?}");
            }
        }
    });
}

#[test]
fn a_script_by_descriptor_needs_it_open() {
    isolated(|| {
        if !needs(&[EXECVEAT]) {
            return;
        }
        let dir = TempDir::new();
        script(&dir, "script", 12);
        let file = File::open(dir.path().join("script")).expect("our file");
        let fd = file.as_raw_fd();
        let kept = [FdAction::Map { parent_fd: fd, child_fd: fd }];
        for setup in each_setup() {
            let mut request = Request::new(Exec::Fd(fd), argv![c"script"]);
            let error = failure(setup, &mut request);
            assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::ENOENT)));
            assert_eq!(run(setup, request.fds(&kept)), 12, "{setup:?}");
        }
    });
}

#[test]
fn a_descriptor_to_execute_must_not_be_overwritten() {
    isolated(|| {
        let file = File::open("/proc/self/exe").expect("/proc");
        let over = [FdAction::Map { parent_fd: 0, child_fd: file.as_raw_fd() }];
        let mut request = Request::new(Exec::Fd(file.as_raw_fd()), argv![c"program"]);
        let error = failure(each_setup()[0], request.fds(&over));
        assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::EINVAL)));
    });
}

#[test]
fn an_unknown_format_is_a_script_only_if_asked() {
    isolated(|| {
        let dir = TempDir::new();
        let text = executable(&dir, "text", "[ \"$0\" = \"$3\" ] && exit $(($1 + $2))\n");
        let arguments = [c"program", c"3", c"4", &text].map(CStrPtr::new);
        let arguments = [&arguments[..], &[CStrPtr::NULL]].concat();
        let arguments = CStrArray::new(&arguments).expect("a NULL");
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(&text), arguments);
            let error = failure(setup, &mut request);
            assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::ENOEXEC)));
            assert_eq!(run(setup, request.sh_fallback(true)), 7, "{setup:?}");
            // The shell is no cure for what is missing.
            let mut request = Request::new(Exec::Path(c"/nonexistent"), arguments);
            let error = failure(setup, request.sh_fallback(true));
            assert_eq!(error.errno(), Some(Errno::ENOENT));
        }
    });
}

#[test]
fn a_busy_file_is_tried_again() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let dir = TempDir::new();
        let (exe, argv) = quick(13);
        let path = dir.path().join("busy");
        std::fs::copy(exe.to_str().expect("a plain path"), &path).expect("our directory");
        let busy = dir.join("busy");
        for setup in without_stub() {
            if [Feature::CloseRange, Feature::Suspends].iter().any(|f| !setup.kernel.has(*f)) {
                continue; // the child keeps the writer itself until exec
            }
            let writer = OpenOptions::new().append(true).open(&path).expect("our file");
            let mut request = Request::new(Exec::Path(&busy), argv);
            let error = failure(setup, request.retry_busy(2));
            assert_eq!((error.step(), error.errno()), (Step::Exec, Some(Errno::ETXTBSY)));
            setup.apply(request.retry_busy(10));
            let mut process = supervised(
                libc::SYS_execve,
                |listener| {
                    Question::next(listener).go_on();
                    // It was busy, and asks again.
                    let again = Question::next(listener);
                    drop(writer);
                    again.go_on();
                },
                || request.spawn(&mut Room::new()).expect("no longer busy"),
            );
            assert_eq!(process.wait().expect("our child").code(), Some(13), "{setup:?}");
        }
    });
}

#[test]
fn an_exec_that_was_interrupted_is_repeated() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let (exe, argv) = quick(14);
        for setup in each_setup() {
            let mut request = Request::new(Exec::Path(exe), argv);
            setup.apply(&mut request);
            let mut process = supervised(
                libc::SYS_execve,
                |listener| {
                    for _ in 0..3 {
                        Question::next(listener).fail(libc::EINTR);
                    }
                    Question::next(listener).go_on();
                },
                || request.spawn(&mut Room::new()).expect("the fourth exec"),
            );
            assert_eq!(process.wait().expect("our child").code(), Some(14), "{setup:?}");
        }
    });
}
