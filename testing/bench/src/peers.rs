//! The table of all that is measured.

use plotters::style::RGBColor;

use crate::inproc::{self, Spawn};
use crate::scenario::Scenario;
use crate::setup::Setup;

/// A way to spawn.
pub(crate) struct Peer {
    /// Its name in tables, CSV and protocol.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) text: &'static str,
    /// Where it runs.
    pub(crate) home: Home,
    /// Where it is measured; empty is everywhere but where all children are given something.
    pub(crate) only: &'static [Scenario],
    /// Its colour in the pictures, if it is in them.
    pub(crate) colour: Option<RGBColor>,
}

/// Where a peer runs.
#[derive(Clone, Copy)]
pub(crate) enum Home {
    /// In the native worker, by the function that makes its spawns.
    Native(fn(&'static Setup) -> Spawn),
    /// In a worker of its own kind, which knows the peer by its name.
    Foreign(Kind),
}

/// A kind of worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This program: C, glibc, std and rawspawn, all in one process.
    Native,
    Musl,
    Python,
    Go,
}

impl Peer {
    /// The kind of worker that it runs in.
    pub(crate) fn kind(&self) -> Kind {
        match self.home {
            Home::Native(_) => Kind::Native,
            Home::Foreign(kind) => kind,
        }
    }

    /// Whether `scenario` measures it.
    pub(crate) fn is_in(&self, scenario: Scenario) -> bool {
        let is_common = self.only.is_empty() && scenario.is_common();
        is_common || self.only.contains(&scenario)
    }
}

/// What ratios are taken against; these are measured in each session.
pub(crate) const FLOOR: &str = "floor";
pub(crate) const GLIBC: &str = "glibc";

const ALWAYS: &[Scenario] = &[];
const PIPES: &[Scenario] = &[Scenario::Pipes];
const IDS: &[Scenario] = &[Scenario::Ids];

/// One row a peer. A new one in the native worker is a row and its function.
pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: "rawspawn",
        text: "`Request`: other descriptors are closed, the default",
        home: Home::Native(inproc::rawspawn),
        only: ALWAYS,
        colour: Some(RGBColor(213, 94, 0)),
    },
    Peer {
        name: "rawspawn-plan",
        text: "`Plan::spawn`: compiled once",
        home: Home::Native(inproc::rawspawn_plan),
        only: ALWAYS,
        colour: None,
    },
    Peer {
        name: "rawspawn-start",
        text: "`Request::start`: detached, all that it borrows is copied",
        home: Home::Native(inproc::rawspawn_start),
        only: ALWAYS,
        colour: Some(RGBColor(240, 160, 110)),
    },
    Peer {
        name: "rawspawn-plan-start",
        text: "`OwnedPlan::start`: detached, compiled and copied once",
        home: Home::Native(inproc::rawspawn_plan_start),
        only: ALWAYS,
        colour: None,
    },
    Peer {
        name: "rawspawn-all",
        text: "`spawn_all`: all children of a sample together",
        home: Home::Native(inproc::rawspawn_all),
        only: &[Scenario::Batch],
        colour: Some(RGBColor(160, 60, 0)),
    },
    Peer {
        name: "rawspawn-inherit",
        text: "`Request` with `OtherFds::Inherit`",
        home: Home::Native(inproc::rawspawn_inherit),
        only: ALWAYS,
        colour: None,
    },
    Peer {
        name: "rawspawn-command",
        text: "`rawspawn::Command`",
        home: Home::Native(inproc::rawspawn_command),
        only: ALWAYS,
        colour: None,
    },
    Peer {
        name: FLOOR,
        text: "C: vfork; close_range(CLOSE_RANGE_CLOEXEC), execve",
        home: Home::Native(inproc::floor),
        only: ALWAYS,
        colour: Some(RGBColor(110, 110, 110)),
    },
    Peer {
        name: "floor-close",
        text: "C: vfork; close_range, which closes at once; execve",
        home: Home::Native(inproc::floor_close),
        only: &[Scenario::Plain, Scenario::Fds],
        colour: None,
    },
    Peer {
        name: "floor-inherit",
        text: "C: vfork; execve",
        home: Home::Native(inproc::floor_inherit),
        only: &[Scenario::Plain, Scenario::Fds],
        colour: None,
    },
    Peer {
        name: "vfork-exit",
        text: "C: vfork; _exit: no program is executed",
        home: Home::Native(inproc::vfork_exit),
        only: ALWAYS,
        colour: None,
    },
    Peer {
        name: "fork",
        text: "C: fork; close_range(CLOSE_RANGE_CLOEXEC), execve: it does not wait for the exec",
        home: Home::Native(inproc::fork),
        only: ALWAYS,
        colour: None,
    },
    Peer {
        name: GLIBC,
        text: "glibc's posix_spawn: others are inherited",
        home: Home::Native(inproc::glibc),
        only: ALWAYS,
        colour: Some(RGBColor(0, 114, 178)),
    },
    Peer {
        name: "glibc-closefrom",
        text: "the same with posix_spawn_file_actions_addclosefrom_np(3)",
        home: Home::Native(inproc::glibc_closefrom),
        only: ALWAYS,
        colour: Some(RGBColor(86, 180, 233)),
    },
    Peer {
        name: "musl",
        text: "musl's posix_spawn, static: others are inherited",
        home: Home::Foreign(Kind::Musl),
        only: ALWAYS,
        colour: Some(RGBColor(204, 121, 167)),
    },
    Peer {
        name: "std",
        text: "`std::process::Command`: others are inherited",
        home: Home::Native(inproc::std),
        only: ALWAYS,
        colour: Some(RGBColor(0, 0, 0)),
    },
    Peer {
        name: "std-pre_exec",
        text: "the same with a `pre_exec` that does nothing, which makes it fork",
        home: Home::Native(inproc::std_pre_exec),
        only: ALWAYS,
        colour: Some(RGBColor(150, 110, 60)),
    },
    Peer {
        name: "python",
        text: "CPython's subprocess.Popen: others are closed, the default",
        home: Home::Foreign(Kind::Python),
        only: ALWAYS,
        colour: Some(RGBColor(230, 159, 0)),
    },
    Peer {
        name: "python-inherit",
        text: "the same with close_fds=False",
        home: Home::Foreign(Kind::Python),
        only: ALWAYS,
        colour: None,
    },
    Peer {
        name: "go",
        text: "Go's os/exec, Cmd.Start: others are inherited",
        home: Home::Foreign(Kind::Go),
        only: ALWAYS,
        colour: Some(RGBColor(0, 158, 115)),
    },
    Peer {
        name: "rawspawn-low",
        text: "three pipes, `Request::spawn_with` and `LowFds`",
        home: Home::Native(inproc::rawspawn_low),
        only: PIPES,
        colour: Some(RGBColor(213, 94, 0)),
    },
    Peer {
        name: "rawspawn-pipes",
        text: "three pipes, `Request::spawn`",
        home: Home::Native(inproc::rawspawn_pipes),
        only: PIPES,
        colour: Some(RGBColor(240, 160, 110)),
    },
    Peer {
        name: "std-pipes",
        text: "`std::process::Command` with three `Stdio::piped`",
        home: Home::Native(inproc::std_pipes),
        only: PIPES,
        colour: Some(RGBColor(0, 0, 0)),
    },
    Peer {
        name: "rawspawn-uid",
        text: "`Request` with `uid` and `gid`",
        home: Home::Native(inproc::rawspawn_uid),
        only: IDS,
        colour: Some(RGBColor(213, 94, 0)),
    },
    Peer {
        name: "rawspawn-uid-fork",
        text: "the same with `Modes::Fork`",
        home: Home::Native(inproc::rawspawn_uid_fork),
        only: IDS,
        colour: Some(RGBColor(240, 160, 110)),
    },
    Peer {
        name: "std-uid",
        text: "`std::process::Command` with `uid` and `gid`, which makes it fork",
        home: Home::Native(inproc::std_uid),
        only: IDS,
        colour: Some(RGBColor(0, 0, 0)),
    },
];
