//! Which program is executed, and which error is reported if none can be.
