//! Processes made behind the crate's back: a libc `fork`.

/// A process that sleeps until this is dropped.
pub(crate) struct Sleeper(pub(crate) i32);

impl Sleeper {
    /// Runs `first` in it, then sleeps.
    pub(crate) fn new(first: impl FnOnce()) -> Self {
        // SAFETY: In a test alone in its process, so no lock is held.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            first();
            loop {
                // SAFETY: Touches no memory.
                unsafe { libc::pause() };
            }
        }
        Self(pid)
    }

    /// Whether it has not ended by itself.
    pub(crate) fn sleeps(&self) -> bool {
        // SAFETY: Our child; no status is asked for.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::WNOHANG) == 0 }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // SAFETY: Our child, which nobody else waits for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}
