//! Kernels and filters that lack a call.
