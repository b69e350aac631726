//! Limits, priorities and scheduling.
