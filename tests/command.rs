//! `Command`, compared with the standard library's.
