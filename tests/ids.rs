//! Users and groups.
