//! `Command`, compared with the standard library's.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rawspawn::{
    CStrArray, CStrPtr, CapSet, Capabilities, Command, Errno, Exec, Filter, ListenFds, Mode,
    Namespaces, NsSet, OtherFds, Reason, Request, Rlimit, SigSet, SpawnError, Stdio, Step,
    TimedOut,
};

use crate::common::own::until;
use crate::common::rights::{
    PIDFD_OPEN, PROCESS_VM_READV, SECCOMP, SETHOSTNAME, may_make_for, needs,
};
use crate::common::{Room, TempDir, file_at, forked, is_root, isolated};

/// The same program text for both crates: what compiles and runs with one does so
/// with the other.
macro_rules! program {
    ($process:path) => {{
        use $process as process;
        let mut seen = Vec::new();
        let mut cat = process::Command::new("cat")
            .stdin(process::Stdio::piped())
            .stdout(process::Stdio::piped())
            .stderr(process::Stdio::null())
            .spawn()
            .expect("cat");
        assert!(cat.id() > 0);
        assert!(cat.try_wait().expect("our child").is_none());
        cat.stdin.as_mut().expect("a pipe").write_all(b"through\n").expect("cat reads");
        // The pipe to it is closed first, or it would wait for more.
        let output: process::Output = cat.wait_with_output().expect("our child");
        seen.push((output.status.code(), output.stdout, output.stderr));

        let output = process::Command::new("sh")
            .args(["-c", "cat; echo \"$ONE-$TWO-$PWD\"; echo wrong >&2; exit 3"])
            .env("ONE", "1")
            .envs([("TWO", "2")])
            .env_remove("THREE")
            .current_dir("/")
            .output()
            .expect("sh");
        seen.push((output.status.code(), output.stdout, output.stderr));

        let status: process::ExitStatus =
            process::Command::new("sh").arg("-c").arg("kill -9 $$").status().expect("sh");
        seen.push((status.signal(), Vec::new(), Vec::new()));

        let mut sleep = process::Command::new("sleep").arg("1000").spawn().expect("sleep");
        sleep.kill().expect("our child");
        let status = sleep.wait().expect("our child");
        sleep.kill().expect("nothing happens");
        assert_eq!(sleep.wait().expect("the same again"), status);
        seen.push((status.signal(), Vec::new(), Vec::new()));
        seen
    }};
}

#[test]
fn a_stream_may_be_whatever_std_makes_a_stream_of() {
    macro_rules! seen_with {
        ($process:path) => {{
            use $process as process;
            let shell = |script: &str| {
                let mut shell = process::Command::new("sh");
                shell.args(["-c", script]);
                shell
            };
            // Whether both streams of the child are that one of its parent.
            let are = |parents: u8| {
                let each = [1, 2].map(|fd| {
                    format!("[ \"$(readlink /proc/$$/fd/{fd})\" = \"$(readlink /proc/$PPID/fd/{parents})\" ]")
                });
                shell(&each.join(" && "))
            };
            let seen = [
                are(1).stdout(std::io::stdout()).stderr(std::io::stdout()).status(),
                are(2).stdout(std::io::stderr()).stderr(std::io::stderr()).status(),
            ];
            // Ends of pipes to another child of std's.
            let piped = std::process::Stdio::piped;
            let mut first = std::process::Command::new("sh")
                .args(["-c", "echo a; echo b >&2"])
                .stdout(piped())
                .stderr(piped())
                .spawn()
                .expect("sh");
            let cat = |from: process::Stdio| {
                let output = process::Command::new("cat").stdin(from).output().expect("cat");
                String::from_utf8(output.stdout).expect("text")
            };
            let out = cat(first.stdout.take().expect("a pipe").into());
            let err = cat(first.stderr.take().expect("a pipe").into());
            first.wait().expect("our child");
            let mut last = std::process::Command::new("cat")
                .stdin(piped())
                .stdout(piped())
                .spawn()
                .expect("cat");
            let to_last = last.stdin.take().expect("a pipe");
            shell("echo c").stdout(to_last).status().expect("sh");
            let last = last.wait_with_output().expect("our child").stdout;
            let codes = seen.map(|status| status.expect("sh").code());
            (codes, out, err, String::from_utf8(last).expect("text"))
        }};
    }
    isolated(|| {
        // So that the two are not the same file, wherever the tests are run.
        let dir = TempDir::new();
        let file = std::fs::File::create(dir.path().join("stdout")).expect("a new file");
        let before = std::io::stdout().as_fd().try_clone_to_owned().expect("a descriptor");
        let becomes = |file: &dyn AsRawFd| {
            // SAFETY: Nobody in this process relies on what its standard output is.
            assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 1) }, 1);
        };
        becomes(&file);
        let (ours, stds) = (seen_with!(rawspawn), seen_with!(std::process));
        becomes(&before);
        assert_eq!(ours, stds);
        assert_eq!(ours, ([Some(0); 2], "a\n".into(), "b\n".into(), "c\n".into()));
    });
}

#[cfg(has_io_pipe)]
#[test]
fn a_stream_may_be_an_end_of_a_pipe_of_stds() {
    isolated(|| {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let (mut seen, to_us) = std::io::pipe().expect("a pipe");
        // The command has both ends until it goes, and `cat` must see its own end of input.
        let mut cat = Command::new("cat").stdin(reader).stdout(to_us).spawn().expect("cat");
        writer.write_all(b"through").expect("cat reads");
        drop(writer);
        let mut text = String::new();
        seen.read_to_string(&mut text).expect("a pipe");
        assert_eq!(text, "through");
        assert!(cat.wait().expect("our child").success());
    });
}

#[test]
fn an_ordinary_program_does_the_same_with_either() {
    isolated(|| assert_eq!(program!(rawspawn), program!(std::process)));
}

/// Asks both kinds of command for the same.
macro_rules! both {
    ($new:expr $(, $method:ident($($arg:expr),*))*) => {{
        #[allow(unused_mut)] // without methods
        let (mut ours, mut theirs) = (Command::new($new), std::process::Command::new($new));
        $(ours.$method($($arg),*); theirs.$method($($arg),*);)*
        (ours, theirs)
    }};
}

#[test]
fn commands_print_as_those_of_std_do() {
    isolated(|| {
        // Not bytes that are no UTF-8: std's versions differ on those.
        let odd = OsStr::new("\u{e9}\"\n");
        for (ours, theirs) in [
            both!("ls"),
            both!("ls", arg("-l"), arg("two words")),
            both!(odd, arg(odd)),
            both!("ls", current_dir("/a b")),
            both!("ls", env("A", "1"), env("B", odd)),
            both!("ls", env_remove("A"), env_remove("B"), env("C", "3")),
            both!("ls", env_clear(), env("A", "1"), env_remove("A")),
            both!("ls", arg0("other"), arg("-l")),
            both!("ls", env_clear(), current_dir("/"), arg0("x"), arg("y")),
            both!("nul\0", arg("nul\0")),
        ] {
            assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
            assert_eq!(ours.get_program(), theirs.get_program());
            assert!(ours.get_args().eq(theirs.get_args()));
            assert!(ours.get_envs().eq(theirs.get_envs()));
            assert_eq!(ours.get_current_dir(), theirs.get_current_dir());
        }
    });
}

#[test]
fn errors_have_the_kind_and_the_number_of_stds() {
    isolated(|| {
        for (mut ours, mut theirs) in [
            both!("no-such-program"),
            both!("/dev/null"),
            both!("/nonexistent/program"),
            both!("true", current_dir("/nonexistent")),
            both!("true", arg("a\0b")),
            both!("tr\0ue"),
            both!("true", env("A", "\0")),
            both!("true", env("A\0", "")),
            both!("true", current_dir("\0")),
            both!(""),
        ] {
            let (our, their) = (ours.spawn().expect_err("bad"), theirs.spawn().expect_err("bad"));
            assert_eq!(our.kind(), their.kind(), "{ours:?}: {our}, {their}");
            assert_eq!(our.raw_os_error(), their.raw_os_error(), "{ours:?}");
        }
    });
}

/// The lines of a program's environment, by both kinds of command.
macro_rules! environments {
    ($($method:ident($($arg:expr),*)),*) => {{
        let (mut ours, mut theirs) = both!("env" $(, $method($($arg),*))*);
        [ours.output(), theirs.output()].map(|output| {
            let text = String::from_utf8(output.expect("env").stdout).expect("text");
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
    }};
}

#[test]
fn names_of_variables_are_whatever_std_takes() {
    isolated(|| {
        for [ours, theirs] in [
            environments!(env_clear(), env("A=B", "x"), env("", "y"), env("=C", "z")),
            environments!(env("A=B", "x"), env_remove("PATH=1")),
            environments!(env("", ""), env_remove("")),
        ] {
            assert_eq!(ours, theirs);
        }
    });
}

fn pointers(strings: &[CString]) -> Vec<CStrPtr<'_>> {
    strings.iter().map(|string| CStrPtr::new(string)).chain([CStrPtr::NULL]).collect()
}

#[test]
fn an_unchanged_environment_is_handed_on_as_it_is() {
    isolated(|| {
        // Without that no more is handed on than std tells of.
        if !needs(&[PROCESS_VM_READV]) {
            return;
        }
        let given = c"RAWSPAWN_TEST_GIVEN=1";
        if std::env::var_os("RAWSPAWN_TEST_GIVEN").is_none() {
            // This test once more, with what no shell would make.
            let strings = |strings: Vec<&CStr>| strings.into_iter().map(CStr::to_owned).collect();
            let exe = std::env::current_exe().expect("/proc").into_os_string().into_vec();
            let exe = CString::new(exe).expect("no NUL");
            let args: Vec<CString> = std::env::args_os()
                .map(|arg| CString::new(arg.into_vec()).expect("no NUL"))
                .collect();
            let own = std::env::vars_os().map(|(key, value)| {
                let entry = [key.into_vec(), value.into_vec()].join(&b'=');
                CString::new(entry).expect("no NUL")
            });
            let long = CString::new(vec![b'l'; 70_000]).expect("no NUL");
            let odd = vec![c"A=1", c"no name", c"A=2", c"=x=y", c"=z", c"", c"B=", &long, given];
            let env: Vec<CString> = own.chain::<Vec<CString>>(strings(odd)).collect();
            let (args, env) = (pointers(&args), pointers(&env));
            let mut request =
                Request::new(Exec::Path(&exe), CStrArray::new(&args).expect("a NULL"));
            request.env(CStrArray::new(&env).expect("a NULL"));
            let mut process = request.spawn(&mut Room::new()).expect("this executable");
            assert!(process.wait().expect("our child").success());
            return;
        }
        let same = |what: &str| {
            let read = |output: std::io::Result<std::process::Output>| output.expect("cat").stdout;
            let (mut ours, mut theirs) = both!("cat", arg("/proc/self/environ"));
            let ours_as_it_is = read(ours.output());
            let theirs_as_it_is = read(theirs.output());
            assert!(ours_as_it_is == theirs_as_it_is, "{what}: as it is");
            assert!(theirs_as_it_is.windows(8).any(|bytes| bytes == b"\0no name"), "{what}");
            // SAFETY: It does nothing.
            unsafe { ours.pre_exec(|| Ok(())) };
            // SAFETY: As above.
            unsafe { theirs.pre_exec(|| Ok(())) };
            let hooked = [read(ours.output()), read(theirs.output())];
            assert!(hooked[0] == hooked[1], "{what}: with a hook");
            // What std takes for a variable is all that is left of one that is changed.
            let (mut ours, mut theirs) = both!("cat", arg("/proc/self/environ"), env("C", "3"));
            assert!(read(ours.output()) == read(theirs.output()), "{what}: changed");
        };
        same("given");
        // SAFETY: No other thread looks at it.
        unsafe { std::env::set_var("ADDED", "1") };
        same("added to");
        // SAFETY: As above.
        unsafe { std::env::remove_var("A") };
        same("taken from");
        // What another thread changes, as std's lock lets it.
        let output = Command::new("cat").arg("/proc/self/environ").output().expect("cat");
        let entries = |text: &[u8]| -> Vec<Vec<u8>> {
            text.split_inclusive(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
        };
        let known = entries(&output.stdout);
        let running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for count in (0..50).cycle() {
                    if !running.load(Ordering::Relaxed) {
                        break;
                    }
                    // SAFETY: All who look take std's lock.
                    unsafe { std::env::set_var(format!("V{count}"), "v".repeat(count)) };
                }
            });
            for _ in 0..300 {
                let output = Command::new("cat").arg("/proc/self/environ").output().expect("cat");
                let (others, old): (Vec<_>, Vec<_>) =
                    entries(&output.stdout).into_iter().partition(|entry| !known.contains(entry));
                for entry in others {
                    let text = String::from_utf8(entry).expect("text");
                    let (name, value) = text.trim_end_matches('\0').split_once('=').expect(&text);
                    let count = name.strip_prefix('V').and_then(|count| count.parse().ok());
                    assert_eq!(Some(value.len()), count, "{text}");
                }
                // In their order, but for those that are no variables, which may have moved.
                let sorted = |mut entries: Vec<_>| {
                    entries.sort();
                    entries
                };
                assert_eq!(sorted(old), sorted(known.clone()));
            }
            running.store(false, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_command_gives_up_what_it_is_told_to() {
    isolated(|| {
        if !needs(&[SECCOMP]) {
            return;
        }
        let mut command = Command::new("grep");
        command.args(["-E", "CapBnd:.0*400$|Seccomp:.2", "-c", "/proc/self/status"]);
        command.no_new_privs(true).seccomp(&[Filter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }]);
        let bind = CapSet::EMPTY.with(10);
        let lines = if is_root() {
            command.capabilities(Capabilities::KEPT.bounding(bind));
            "2\n"
        } else {
            "1\n"
        };
        assert_eq!(command.output().expect("grep").stdout, lines.as_bytes());
    });
}

#[test]
fn an_error_can_name_its_step() {
    isolated(|| {
        let error =
            Command::new("true").current_dir("/nonexistent").try_spawn().expect_err("missing");
        let SpawnError::Spawn(error) = error else { panic!("{error}") };
        assert_eq!((error.step(), error.errno()), (Step::CurrentDir, Some(Errno::ENOENT)));
    });
}

#[test]
fn both_pipes_are_read_at_once() {
    isolated(|| {
        let script = "yes out | head -c 1000000; yes err | head -c 1000000 >&2; echo end";
        let output = Command::new("sh").args(["-c", script]).output().expect("sh");
        assert_eq!((output.stdout.len(), output.stderr.len()), (1_000_004, 1_000_000));
    });
}

#[test]
fn the_path_that_is_searched_is_the_childs() {
    isolated(|| {
        use std::os::unix::fs::PermissionsExt;

        let dir = TempDir::new();
        let file = dir.path().join("only-here");
        std::fs::write(&file, "#!/bin/sh\nexit 9\n").expect("our directory");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(file, mode).expect("our file");
        let status = Command::new("only-here").env("PATH", dir.path()).status().expect("found");
        assert_eq!(status.code(), Some(9));
        Command::new("only-here").status().expect_err("not in our own");
    });
}

#[test]
fn a_deadline_kills_reaps_and_keeps_the_output() {
    isolated(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo early; echo wrong >&2; exec sleep 1000"]);
        // Time enough to say something, even on a busy machine.
        let error = command.output_timeout(Duration::from_millis(1500)).expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let TimedOut { output } = error.downcast::<TimedOut>().expect("the output");
        assert_eq!(output.stdout, b"early\n");
        assert_eq!(output.stderr, b"wrong\n");
        assert_eq!(output.status.signal(), Some(libc::SIGKILL));
        assert!(!crate::common::has_children());
        let quick = Command::new("echo").arg("x").output_timeout(Duration::from_secs(600));
        assert_eq!(quick.expect("in time").stdout, b"x\n");
    });
}

#[test]
fn a_deadline_that_is_over_leaves_nothing_in_the_pipes() {
    isolated(|| {
        let spawn = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("sh")
        };
        // Says so when all is in the pipes.
        let dir = TempDir::new();
        let done = dir.path().join("done");
        let tell = format!("touch {}", done.display());
        for (script, ends, out, err) in [
            ("echo early; echo wrong >&2; TELL; exec sleep 1000", false, 6, 6),
            ("echo early; TELL; exec sleep 1000", false, 6, 0),
            ("head -c 60000 /dev/zero; TELL; exec sleep 1000", false, 60_000, 0),
            ("exec >&-; echo wrong >&2; TELL; exec sleep 1000 2>&-", false, 0, 6),
            ("TELL; echo early", true, 6, 0),
        ] {
            let child = spawn(&script.replace("TELL", &tell));
            let pid = libc::id_t::from(child.id());
            until("the shell has written", || done.exists());
            std::fs::remove_file(&done).expect("our file");
            if ends {
                // SAFETY: `siginfo_t` is integers.
                let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
                let options = libc::WEXITED | libc::WNOWAIT;
                // SAFETY: The kernel writes one.
                unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, options) };
            }
            let result = child.wait_with_output_timeout(Duration::ZERO);
            let output = match result {
                Ok(output) => {
                    assert!(ends && output.status.success(), "{script}");
                    output
                }
                Err(error) => {
                    assert!(!ends, "{script}: it had ended");
                    error.downcast::<TimedOut>().expect("the output").output
                }
            };
            assert_eq!((output.stdout.len(), output.stderr.len()), (out, err), "{script}");
        }
        // One that never stops writing does not hold the caller.
        let child = spawn("exec yes");
        let error = child.wait_with_output_timeout(Duration::ZERO).expect_err("it never ends");
        error.downcast::<TimedOut>().expect("the output");
        assert!(!crate::common::has_children());
    });
}

#[test]
fn a_wait_with_a_deadline_comes_back_without_a_status() {
    isolated(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        let stdin = child.stdin.take();
        assert_eq!(child.wait_timeout(Duration::from_millis(1)).expect("our child"), None);
        drop(stdin);
        let status = child.wait_timeout(Duration::from_secs(600)).expect("our child");
        assert!(status.expect("it has ended").success());
    });
}

#[test]
fn descriptors_are_given_by_number_and_all_others_closed() {
    isolated(|| {
        let mut ends = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo five >&5; echo six >&6; (: <&9) 2>/dev/null || echo none >&5"]);
        // The numbers are the pipes' own, and so in each other's way.
        for child_fd in [6, 5] {
            let (reader, writer) = rawspawn::pipe().expect("a pipe");
            command.fd(writer, child_fd);
            ends.push(std::fs::File::from(OwnedFd::from(reader)));
        }
        let open = file_at(9);
        // SAFETY: Touches no memory.
        unsafe { libc::fcntl(open.as_raw_fd(), libc::F_SETFD, 0) };
        assert!(command.status().expect("sh").success());
        drop(command);
        let texts = ends.iter_mut().map(|end| {
            let mut text = String::new();
            end.read_to_string(&mut text).expect("a pipe");
            text
        });
        assert_eq!(texts.collect::<Vec<_>>(), ["six\n", "five\nnone\n"]);
        let mut command = Command::new("sh");
        command.args(["-c", ": <&9"]).other_fds(OtherFds::Inherit);
        assert!(command.status().expect("sh").success());
    });
}

#[test]
fn a_pipeline_is_made_of_pipes_and_files() {
    isolated(|| {
        let mut echo =
            Command::new("echo").arg("b\na").stdout(Stdio::piped()).spawn().expect("echo");
        let from_echo = echo.stdout.take().expect("a pipe");
        let sorted = Command::new("sort").stdin(from_echo).output().expect("sort");
        assert_eq!(sorted.stdout, b"a\nb\n");
        assert!(echo.wait().expect("our child").success());
        let file = std::fs::File::open("/dev/null").expect("/dev/null");
        let output = Command::new("cat").stdin(file).output().expect("cat");
        assert_eq!(output.stdout, b"");
    });
}

fn set_umask(mask: libc::mode_t) {
    // SAFETY: Touches no memory.
    unsafe { libc::umask(mask) };
}

#[test]
fn hooks_run_in_order_in_a_fork_and_their_error_is_the_spawns() {
    isolated(|| {
        static RAN: AtomicU32 = AtomicU32::new(0);
        let mut command = Command::new("sh");
        command.args(["-c", "exit $(umask)"]);
        // SAFETY: Both only touch what is theirs.
        unsafe {
            command.pre_exec(|| {
                RAN.store(1, Ordering::Relaxed);
                set_umask(0);
                Ok(())
            });
        }
        // SAFETY: As above.
        unsafe {
            command.pre_exec(|| {
                assert_eq!(RAN.load(Ordering::Relaxed), 1);
                set_umask(0o005);
                Ok(())
            });
        }
        let mut child = command.spawn().expect("sh");
        assert_eq!((child.mode(), child.reason()), (Mode::Fork, Reason::Hook));
        assert_eq!(child.wait().expect("our child").code(), Some(5));
        assert_eq!(RAN.load(Ordering::Relaxed), 0, "it was not a copy");

        // SAFETY: It only returns an error.
        unsafe {
            command.pre_exec(|| Err(std::io::Error::from_raw_os_error(libc::EXDEV)));
        }
        let error = command.spawn().expect_err("the hook's");
        assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
    });
}

#[test]
fn options_of_the_core_reach_the_child() {
    isolated(|| {
        let script = "umask; ulimit -c; set -- $(cat /proc/$$/stat); echo ${19}; \
                      grep NoNewPrivs /proc/self/status";
        let mut command = Command::new("sh");
        command.args(["-c", script]).umask(0o031).nice(4).no_new_privs(true);
        // RLIMIT_CORE, in blocks of 512 or 1024 bytes.
        command.rlimit(Rlimit::new(4, 0, 0));
        let text = command.output().expect("sh").stdout;
        let text = String::from_utf8(text).expect("ASCII");
        let expected = ["0031", "0", "4", "NoNewPrivs:\t1"];
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        // Not by a shell, which may open it.
        let mut grep = Command::new("grep");
        grep.args(["SigBlk", "/proc/self/status"]);
        grep.signal_mask(SigSet::EMPTY.with(libc::SIGUSR1));
        assert_eq!(grep.output().expect("grep").stdout, b"SigBlk:\t0000000000000200\n");
        let mut leader = Command::new("sh");
        leader.args(["-c", "set -- $(cat /proc/self/stat); [ $5 = $$ ]"]).process_group(0);
        assert!(leader.status().expect("sh").success());
    });
}

#[test]
fn sigpipe_is_default_and_the_mask_the_callers() {
    isolated(|| {
        let status = |mut command: Command| {
            let text = command.output().expect("grep").stdout;
            String::from_utf8(text).expect("ASCII")
        };
        let mut command = Command::new("grep");
        command.args(["SigIgn", "/proc/self/status"]);
        let ignored = status(command);
        let bits = ignored.trim().rsplit('\t').next().expect("a number").to_owned();
        let bits = u64::from_str_radix(&bits, 16).expect("hexadecimal");
        assert!(!SigSet::from_bits(bits).contains(libc::SIGPIPE), "{ignored}");
    });
}

#[test]
fn a_pidfd_is_there_and_dropping_a_child_does_not_kill_it() {
    isolated(|| {
        let has_pidfds = needs(&[PIDFD_OPEN]);
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        let pid = i32::try_from(child.id()).expect("a pid");
        assert_eq!(child.pidfd().is_some_and(|pidfd| pidfd.raw() > 2), has_pidfds);
        let stdin = child.stdin.take();
        drop(child);
        // SAFETY: Touches no memory.
        assert_eq!(unsafe { libc::kill(pid, 0) }, 0, "it was killed");
        drop(stdin);
        let mut status = -1;
        // SAFETY: The kernel writes one status.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0);
    });
}

#[test]
fn exec_replaces_this_process_as_far_as_std_can() {
    isolated(|| {
        forked(|| {
            let error = Command::new("true").umask(0).exec();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let error = Command::new("/nonexistent").exec();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
            let arguments: [OsString; 2] = ["-c".into(), "[ $ONE = 1 ]".into()];
            let error = Command::new("sh").args(arguments).env("ONE", "1").exec();
            panic!("{error}");
        });
    });
}

#[test]
fn a_command_has_the_options_of_services_and_namespaces_too() {
    static NAMESPACES: Namespaces<'_> = Namespaces::new(NsSet::UTS).hostname(c"a-command");
    static LISTEN: ListenFds<'_> = ListenFds::new(0);
    isolated(|| {
        let output = |command: &mut Command| {
            let output = command.output().expect("a shell");
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $LISTEN_FDS $(test $$ = \"$LISTEN_PID\" && echo mine)"])
            .listen_fds(&LISTEN);
        assert_eq!(output(&mut command), "0 mine");
        let mut command = Command::new("sh");
        command.args(["-c", "cat /proc/self/coredump_filter"]).coredump_filter(3);
        assert_eq!(output(command.subreaper(true).timer_slack(1000)), "00000003");
        if !may_make_for(NsSet::UTS, &[SETHOSTNAME]) {
            return;
        }
        let mut command = Command::new("cat");
        command.arg("/proc/sys/kernel/hostname").namespaces(&NAMESPACES);
        assert_eq!(output(&mut command), "a-command");
    });
}
