//! What is measured: scenarios, and the points of each.

use clap::ValueEnum;

/// How many children a batch has.
pub(crate) const BATCH: u32 = 16;

/// One question, answered in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A small parent, a static child.
    Plain,
    /// A small parent, /bin/true, which is linked dynamically.
    True,
    /// Cost against open descriptors.
    Fds,
    /// Cost against open descriptors, with three new pipes for the child.
    Pipes,
    /// Cost against the parent's resident memory.
    Rss,
    /// Cost against the parent's resident memory, of children with another user.
    Ids,
    /// Cost against installed signal handlers.
    Handlers,
    /// Cost against other, idle threads.
    Threads,
    /// 16 children from one thread: all are started, then all are waited for.
    Batch,
}

/// What a worker brings itself into before it spawns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// Open descriptors, not close-on-exec.
    pub(crate) fds: u64,
    /// Memory in pages of 4 KiB, each touched.
    pub(crate) rss_mib: u64,
    /// Signals with a handler.
    pub(crate) handlers: u64,
    /// Threads that wait.
    pub(crate) threads: u64,
}

/// One state of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Where it is on the scenario's axis.
    pub(crate) x: u64,
    /// The workers' state there.
    pub(crate) state: State,
}

impl Scenario {
    /// In the order of a report.
    pub(crate) const ALL: [Self; 9] = [
        Self::Plain,
        Self::True,
        Self::Fds,
        Self::Pipes,
        Self::Rss,
        Self::Ids,
        Self::Handlers,
        Self::Threads,
        Self::Batch,
    ];

    /// Those with an axis.
    pub(crate) const SCALING: [Self; 6] =
        [Self::Fds, Self::Pipes, Self::Rss, Self::Ids, Self::Handlers, Self::Threads];

    /// Its name in options and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::True => "true",
            Self::Fds => "fds",
            Self::Pipes => "pipes",
            Self::Rss => "rss",
            Self::Ids => "ids",
            Self::Handlers => "handlers",
            Self::Threads => "threads",
            Self::Batch => "batch",
        }
    }

    /// Its heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Plain => "A small parent, a static child",
            Self::True => "A small parent, /bin/true",
            Self::Fds => "Open descriptors of the parent",
            Self::Pipes => "Open descriptors of the parent, and three new pipes",
            Self::Rss => "Resident memory of the parent",
            Self::Ids => "Resident memory of the parent, whose children are another user's",
            Self::Handlers => "Signal handlers of the parent",
            Self::Threads => "Other threads of the parent, idle",
            Self::Batch => "16 children from one thread: start all, wait for all",
        }
    }

    fn xs(self) -> &'static [u64] {
        match self {
            Self::Plain | Self::True | Self::Batch => &[0],
            Self::Fds | Self::Pipes => &[0, 100, 1000, 5000, 19_000],
            Self::Rss | Self::Ids => &[0, 64, 1024, 8192],
            Self::Handlers => &[0, 16, 60],
            Self::Threads => &[0, 4, 16],
        }
    }

    /// Its points, from small to large.
    pub(crate) fn points(self) -> Vec<Point> {
        let state = |x| match self {
            Self::Plain | Self::True | Self::Batch => State::default(),
            Self::Fds | Self::Pipes => State { fds: x, ..State::default() },
            Self::Rss | Self::Ids => State { rss_mib: x, ..State::default() },
            Self::Handlers => State { handlers: x, ..State::default() },
            Self::Threads => State { threads: x, ..State::default() },
        };
        self.xs().iter().map(|&x| Point { x, state: state(x) }).collect()
    }

    /// How a point of its axis is written.
    pub(crate) fn label(self, x: u64) -> String {
        match self {
            Self::Rss | Self::Ids if x >= 1024 => format!("{} GiB", x / 1024),
            Self::Rss | Self::Ids if x > 0 => format!("{x} MiB"),
            _ => x.to_string(),
        }
    }

    /// Whether other peers than its own are measured in it.
    pub(crate) fn is_common(self) -> bool {
        !matches!(self, Self::Pipes | Self::Ids)
    }

    /// How many times as often it is measured: a few percent matter in the first.
    pub(crate) fn weight(self) -> usize {
        if self == Self::Plain { 4 } else { 1 }
    }

    /// How many children a sample has.
    pub(crate) fn children(self) -> u32 {
        if self == Self::Batch { BATCH } else { 1 }
    }
}
