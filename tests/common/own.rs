//! A process of its own for a test, with an end.
//!
//! A test that waits for something that never comes is killed with all that it has made, and
//! the panic says which processes there were and what each of them waited for.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use super::new_file;

/// Runs `test`, a closure of a test function, alone in a process of its own: this
/// executable with that test only. For what would disturb tests of other threads, and for all
/// that might wait for ever.
#[track_caller]
pub(crate) fn isolated<F: FnOnce()>(test: F) {
    isolated_with(test, libc::LOCK_SH);
}

/// Runs `test` as [`isolated`] does, while no other such test runs: for what changes
/// the whole system.
#[track_caller]
pub(crate) fn alone<F: FnOnce()>(test: F) {
    isolated_with(test, libc::LOCK_EX);
}

/// Names the one test of an isolated process.
const ALONE: &str = "RAWSPAWN_TEST_ALONE";

/// The test that this process is for.
pub(crate) fn isolated_test() -> Option<String> {
    std::env::var(ALONE).ok()
}

/// What a line begins with that says what is left out.
const SKIPPED: &str = "skipped: ";

/// Says that this test, or a part of it, is left out: `what` it is, and why. A line of the test's
/// output, and of the file that `RAWSPAWN_TEST_SKIPPED` names, once.
pub(crate) fn skip(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if !SAID.lock().is_ok_and(|mut said| said.insert(what.to_owned())) {
        return;
    }
    let thread = std::thread::current();
    let name = isolated_test().or(thread.name().map(str::to_owned)).unwrap_or_default();
    // The harness may have begun a line.
    println!("\n{SKIPPED}{name}: {what}");
    if let Some(file) = std::env::var_os("RAWSPAWN_TEST_SKIPPED") {
        // A process that has become another user may not write to it.
        if let Ok(mut file) = File::options().append(true).open(file) {
            let _ = writeln!(file, "{name}: {what}");
        }
    }
}

/// Fails in a test that is not [`isolated`], for what other tests would disturb.
#[track_caller]
pub(crate) fn assert_isolated() {
    assert!(isolated_test().is_some(), "the test is not isolated from the others");
}

/// How long a test may take: very long for this machine, or what `RAWSPAWN_TEST_SECONDS`
/// says, as an emulator takes its time.
fn limit() -> Duration {
    let asked = std::env::var("RAWSPAWN_TEST_SECONDS").ok();
    Duration::from_secs(asked.and_then(|asked| asked.parse().ok()).unwrap_or(300))
}

#[track_caller]
fn isolated_with<F: FnOnce()>(test: F, lock: i32) {
    // `main::topic::test::{{closure}}`; that one test passed is checked below.
    let name = std::any::type_name::<F>();
    let name = name.strip_suffix("::{{closure}}").expect("a closure");
    let name = name.split_once("::").expect("a path").1;
    if isolated_test().is_some_and(|alone| alone == name) {
        return test();
    }
    let exe = std::env::current_exe().expect("/proc");
    let file = File::open(&exe).expect("this executable");
    // SAFETY: Touches no memory. Other tests hold it too, but for `alone`; each ends.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), lock) }, 0);
    let (stdout, stderr) = (Output::new(), Output::new());
    let mut command = Command::new(exe);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ALONE, name);
    command.stdin(Stdio::null()).stdout(stdout.stdio()).stderr(stderr.stdio());
    let ended = wait(command, &stdout);
    let (text, errors) = (stdout.read(), stderr.read());
    for (_, skipped) in text.lines().filter_map(|line| line.split_once(SKIPPED)) {
        println!("{SKIPPED}{skipped}");
    }
    for line in text.lines().filter(|line| line.contains("counted: ")) {
        println!("{line}");
    }
    match ended {
        Ok(status) => {
            assert!(status.success() && text.contains("1 passed"), "{status}\n{text}\n{errors}");
        }
        Err(waits) => panic!(
            "{name} did not end within {} s. There were then\n{waits}\n{text}\n{errors}",
            limit().as_secs()
        ),
    }
}

/// Runs `command`, whose output is `output`: its status, or what its processes waited for when
/// its time was over. Then none of them is left.
fn wait(mut command: Command, output: &Output) -> Result<ExitStatus, String> {
    let mut child = command.spawn().expect("this executable again");
    let pid = i32::try_from(child.id()).expect("a pid");
    std::thread::scope(|scope| {
        let (send, ended) = mpsc::channel();
        scope.spawn(move || send.send(child.wait().expect("our child")));
        let result = ended.recv_timeout(limit());
        let waits = result.is_err().then(|| {
            let all = processes_of(pid, output);
            all.iter().map(|&pid| what_it_waits_for(pid)).collect::<String>()
        });
        // What a test that failed has left goes, too: it may wait for ever.
        if !result.is_ok_and(|status| status.success()) {
            // Again, for what they made meanwhile.
            for _ in 0..3 {
                for pid in processes_of(pid, output) {
                    // SAFETY: Processes of a test of ours.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
            }
        }
        match (waits, result) {
            (Some(waits), _) => Err(waits),
            (None, result) => Ok(result.expect("it has ended")),
        }
    })
}

/// The processes of a test: `first`, those that descend from it, and those that have its
/// output open, whose parent may be gone.
fn processes_of(first: i32, output: &Output) -> BTreeSet<i32> {
    let numbers = |path: &str| -> Vec<i32> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    let parent = |pid: &i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may have any character: state, parent.
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let ours = i32::try_from(std::process::id()).expect("a pid");
    let parents: Vec<(i32, i32)> = numbers("/proc")
        .into_iter()
        .filter(|&pid| pid != ours)
        .filter_map(|pid| Some((pid, parent(&pid)?)))
        .collect();
    let mut found: BTreeSet<i32> = parents
        .iter()
        .map(|&(pid, _)| pid)
        .filter(|pid| {
            let links = numbers(&format!("/proc/{pid}/fd")).into_iter();
            *pid == first
                || links
                    .map(|fd| format!("/proc/{pid}/fd/{fd}"))
                    .any(|link| std::fs::metadata(link).is_ok_and(|file| output.is(&file)))
        })
        .collect();
    loop {
        let known = found.len();
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| found.contains(parent))
                .map(|(pid, _)| pid)
                .copied()
                .collect::<Vec<_>>(),
        );
        if found.len() == known {
            return found;
        }
    }
}

/// What can be seen of a process that does not go on: a line for each of its threads.
fn what_it_waits_for(pid: i32) -> String {
    let read = |path: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{path}")).unwrap_or_default();
        text.trim_end_matches(['\0', '\n']).replace('\0', " ")
    };
    let mut text = format!("process {pid}: {}\n", read("cmdline"));
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for thread in threads {
        let tid = thread.file_name();
        let tid = tid.to_string_lossy();
        let status = read(&format!("task/{tid}/status"));
        let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("?");
        let (place, call) =
            (read(&format!("task/{tid}/wchan")), read(&format!("task/{tid}/syscall")));
        let call = call.split(' ').take(3).collect::<Vec<_>>().join(" ");
        let state = state.trim();
        writeln!(text, "  thread {tid}: {state}, in {place}, system call {call}")
            .expect("a String");
    }
    text
}

/// What a process writes: a file, as a pipe would be held open by whom it leaves behind.
struct Output(File);

impl Output {
    fn new() -> Self {
        Self(new_file())
    }

    fn stdio(&self) -> Stdio {
        Stdio::from(self.0.try_clone().expect("a descriptor"))
    }

    fn read(&self) -> String {
        let mut bytes = Vec::new();
        let mut file = &self.0;
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("our file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn is(&self, file: &std::fs::Metadata) -> bool {
        let own = self.0.metadata().expect("our file");
        (own.dev(), own.ino()) == (file.dev(), file.ino())
    }
}

/// Asks until `done`; fails after a while, and says that it waited until `what`.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit() / 2, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `test` in a fork of this process, for what cannot be taken back.
#[track_caller]
pub(crate) fn forked(test: impl FnOnce()) {
    assert_isolated();
    // SAFETY: In an isolated test this is the only thread that matters.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        // SAFETY: Ends the process; the harness must not go on here.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    let mut status = 0;
    // SAFETY: The kernel writes one status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(status == 0, "the fork of the test failed: {}", ExitStatus::from_raw(status));
}
