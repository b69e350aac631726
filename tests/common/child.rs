//! Children that end in a given way: the test executable again, before `main`.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;

use rawspawn::{CStrArray, CStrPtr, Errno, Exec, Request, Step};

use super::{each_setup, failure};

const END: &str = "--end";

/// How a child ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Exit(i32),
    /// By this signal, sent by itself.
    Signal(i32),
    /// Not before somebody kills it.
    Never,
}

/// A request for a child that ends so.
pub(crate) fn ending(end: End) -> Request<'static> {
    let exe = std::env::current_exe().expect("/proc").into_os_string().into_vec();
    let exe = leak(CString::new(exe).expect("no NUL"));
    let words = match end {
        End::Exit(code) => ["exit".to_owned(), code.to_string()],
        End::Signal(signal) => ["signal".to_owned(), signal.to_string()],
        End::Never => ["never".to_owned(), "0".to_owned()],
    };
    let words = ["child".to_owned(), END.to_owned()].into_iter().chain(words);
    let words = words.map(|word| CStrPtr::new(leak(CString::new(word).expect("no NUL"))));
    let argv = words.chain([CStrPtr::NULL]).collect::<Vec<_>>().leak();
    Request::new(Exec::Path(exe), CStrArray::new(argv).expect("a NULL"))
}

/// Leaked, so that requests of any lifetime can borrow it.
fn leak(string: CString) -> &'static CStr {
    Box::leak(string.into_boxed_c_str())
}

/// A change to a request, and the step and errno that it leads to.
pub(crate) type Refused = (fn(&mut Request<'static>), Step, Errno);

/// Asks for each of `rows` in every setup.
#[track_caller]
pub(crate) fn assert_refused(rows: &[Refused]) {
    for setup in each_setup() {
        for (number, (change, step, errno)) in rows.iter().enumerate() {
            let mut request = ending(End::Exit(0));
            change(&mut request);
            let error = failure(setup, &mut request);
            let seen = (error.step(), error.errno());
            assert_eq!(seen, (*step, Some(*errno)), "{setup:?}, row {number}");
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = end_if_asked;

extern "C" fn end_if_asked() {
    // musl hands constructors no arguments, so ask the kernel.
    let Ok(arguments) = std::fs::read_to_string("/proc/self/cmdline") else { return };
    let mut arguments = arguments.split('\0').skip(1);
    if arguments.next() != Some(END) {
        return;
    }
    let how = arguments.next();
    let number = arguments.next().and_then(|word| word.parse().ok()).expect("a number");
    match how {
        Some("exit") => std::process::exit(number),
        // SAFETY: Touches no memory.
        Some("signal") => unsafe { libc::kill(libc::getpid(), number) },
        _ => 0,
    };
    loop {
        // SAFETY: Touches no memory.
        unsafe { libc::pause() };
    }
}
