//! Root and working directory, umask.
