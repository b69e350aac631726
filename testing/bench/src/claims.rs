//! What README says of the cost, each as a ratio that a run confirms or does not.

use crate::results::{Cell, Figure, Results, Spread};
use crate::scenario::Scenario;

/// What a ratio should be.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

/// A ratio of two cells.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    cell: Cell,
    base: Cell,
    figure: Figure,
    pub(crate) wanted: Wanted,
}

impl Wanted {
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl Claim {
    /// What was measured; None if it was not.
    pub(crate) fn measured(&self, results: &Results) -> Option<Spread> {
        results.ratio(self.cell, self.base, self.figure)
    }
}

const fn cell(scenario: Scenario, x: u64, peer: &'static str) -> Cell {
    Cell { scenario, x, peer }
}

/// One row a claim.
pub(crate) const CLAIMS: &[Claim] = &[
    Claim {
        text: "plain, held: rawspawn / floor",
        cell: cell(Scenario::Plain, 0, "rawspawn"),
        base: cell(Scenario::Plain, 0, "floor"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(1.03),
    },
    Claim {
        text: "plain, held: rawspawn / glibc posix_spawn",
        cell: cell(Scenario::Plain, 0, "rawspawn"),
        base: cell(Scenario::Plain, 0, "glibc"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(0.60),
    },
    Claim {
        text: "plain, held: rawspawn / std Command",
        cell: cell(Scenario::Plain, 0, "rawspawn"),
        base: cell(Scenario::Plain, 0, "std"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(0.60),
    },
    Claim {
        text: "19000 descriptors, held: rawspawn / itself with 0",
        cell: cell(Scenario::Fds, 19_000, "rawspawn"),
        base: cell(Scenario::Fds, 0, "rawspawn"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(1.3),
    },
    Claim {
        text: "19000 descriptors, held: glibc closefrom / rawspawn",
        cell: cell(Scenario::Fds, 19_000, "glibc-closefrom"),
        base: cell(Scenario::Fds, 19_000, "rawspawn"),
        figure: Figure::Held,
        wanted: Wanted::AtLeast(40.0),
    },
    Claim {
        text: "19000 descriptors, three pipes, held: rawspawn with LowFds / itself with 0",
        cell: cell(Scenario::Pipes, 19_000, "rawspawn-low"),
        base: cell(Scenario::Pipes, 0, "rawspawn-low"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(1.5),
    },
    Claim {
        text: "8 GiB resident, held: rawspawn / itself with 0",
        cell: cell(Scenario::Rss, 8192, "rawspawn"),
        base: cell(Scenario::Rss, 0, "rawspawn"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(1.1),
    },
    Claim {
        text: "another user, 1 GiB resident, held: std Command, which forks / rawspawn",
        cell: cell(Scenario::Ids, 1024, "std-uid"),
        base: cell(Scenario::Ids, 1024, "rawspawn-uid"),
        figure: Figure::Held,
        wanted: Wanted::AtLeast(30.0),
    },
    Claim {
        text: "another user, 1 GiB resident, held: rawspawn by fork / rawspawn",
        cell: cell(Scenario::Ids, 1024, "rawspawn-uid-fork"),
        base: cell(Scenario::Ids, 1024, "rawspawn-uid"),
        figure: Figure::Held,
        wanted: Wanted::AtLeast(30.0),
    },
    Claim {
        text: "another user, small parent, held: rawspawn / std Command, which forks",
        cell: cell(Scenario::Ids, 0, "rawspawn-uid"),
        base: cell(Scenario::Ids, 0, "std-uid"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(1.0),
    },
    Claim {
        text: "another user, 8 GiB resident, held: rawspawn / itself with 0",
        cell: cell(Scenario::Ids, 8192, "rawspawn-uid"),
        base: cell(Scenario::Ids, 0, "rawspawn-uid"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(1.3),
    },
    Claim {
        text: "plain, held: rawspawn started, not waited for / floor",
        cell: cell(Scenario::Plain, 0, "rawspawn-start"),
        base: cell(Scenario::Plain, 0, "floor"),
        figure: Figure::Held,
        wanted: Wanted::AtMost(0.40),
    },
    Claim {
        // Of times: the rate of one is the time of the other.
        text: "batch, children per second: rawspawn together / glibc posix_spawn",
        cell: cell(Scenario::Batch, 0, "glibc"),
        base: cell(Scenario::Batch, 0, "rawspawn-all"),
        figure: Figure::Total,
        wanted: Wanted::AtLeast(2.2),
    },
];
