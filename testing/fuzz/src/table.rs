//! What must become of the descriptors.

use std::collections::{BTreeMap, BTreeSet};

use rawspawn::Step;

use crate::case::{Action, Dir, File, Item, named};
use crate::facts::{Facts, Identity};
use crate::model::{Look, Model};
use crate::world::{self, fd};

/// The descriptors that the program has, and its directory so far.
pub(crate) type Table = BTreeMap<i32, (Identity, bool)>;

/// What becomes of the descriptors, and where posix actions lead.
pub(crate) fn descriptors(
    model: &mut Model,
    look: &Look<'_>,
    facts: &Facts,
    inherits: bool,
) -> (Table, (u64, u64)) {
    let mut table = facts.table.clone();
    let mut cwd = facts.scratch;
    let limit = world::LIMIT as i32;
    let has_posix = look.has(|item| matches!(item, Item::Posix(_)));
    if has_posix && !inherits {
        model.must(Step::FileAction);
    }
    file_actions(model, look, facts, &mut table, &mut cwd);
    if look.case.is_piped() {
        table.insert(1, (None, false));
    }
    let before = table.clone();
    let mut named_before = BTreeSet::new();
    let mut kept: BTreeSet<i32> = [0, 1, 2].into();
    for item in &look.case.items {
        let Some(number) = named(item) else { continue };
        let step = match item {
            Item::Map { .. } => Step::Move,
            Item::Open { .. } => Step::Open,
            _ => Step::Close,
        };
        model.must_if(number < 0 || !named_before.insert(number), step);
        match *item {
            Item::Map { parent_fd, child_fd } => {
                model.must_if(child_fd >= limit && child_fd != parent_fd, Step::Move);
                kept.insert(child_fd);
                match before.get(&parent_fd) {
                    Some((identity, _)) => {
                        table.insert(child_fd, (*identity, false));
                    }
                    None => model.must(Step::Move),
                }
            }
            Item::Open { child_fd, file } => {
                model.must_if(child_fd >= limit, Step::Open);
                kept.insert(child_fd);
                match opened(facts, file) {
                    Some(identity) => {
                        table.insert(child_fd, (identity, false));
                    }
                    None => model.must(Step::Open),
                }
            }
            _ => {
                table.remove(&number);
                kept.remove(&number);
            }
        }
    }
    // What is closed, is so at the exec: until then directories and programs are there.
    for (number, (_, cloexec)) in &mut table {
        *cloexec |= !inherits && !kept.contains(number);
    }
    (table, cwd)
}

/// What there is to see of a file that is opened; `None` if it cannot be.
fn opened(facts: &Facts, name: File) -> Option<Identity> {
    let of = |number| facts.table.get(&number).and_then(|(identity, _)| *identity);
    match name {
        File::There => Some(of(fd::TEXT)),
        File::Null => Some(of(fd::NULL)),
        File::Created => Some(None),
        File::Missing => None,
    }
}

/// The file actions of `posix_spawn(3)`, one after the other.
fn file_actions(
    model: &mut Model,
    look: &Look<'_>,
    facts: &Facts,
    table: &mut Table,
    cwd: &mut (u64, u64),
) {
    let is_number = |number: i32| (0..world::LIMIT as i32).contains(&number);
    for item in &look.case.items {
        let Item::Posix(action) = item else { continue };
        match *action {
            Action::Close(number) => {
                model.must_if(!is_number(number), Step::FileAction);
                table.remove(&number);
            }
            Action::Open(number, name) => {
                model.must_if(!is_number(number), Step::FileAction);
                match opened(facts, name) {
                    Some(identity) => {
                        table.insert(number, (identity, false));
                    }
                    None => model.must(Step::FileAction),
                }
            }
            Action::Dup2(from, to) => {
                model.must_if(!is_number(from) || !is_number(to), Step::FileAction);
                match table.get(&from) {
                    Some((identity, _)) => {
                        table.insert(to, (*identity, false));
                    }
                    None => model.must(Step::FileAction),
                }
            }
            Action::Chdir(Dir::Missing) => model.must(Step::FileAction),
            Action::Chdir(Dir::Relative) if *cwd != facts.scratch => model.must(Step::FileAction),
            Action::Chdir(Dir::Relative | Dir::Below) => *cwd = facts.below,
            Action::Chdir(Dir::Scratch) => *cwd = facts.scratch,
            Action::Fchdir(number) => match table.get(&number) {
                Some((Some(identity), _)) if *identity == facts.below => *cwd = *identity,
                Some((Some(identity), _))
                    if facts
                        .table
                        .get(&fd::CGROUP)
                        .is_some_and(|(cgroup, _)| *cgroup == Some(*identity)) =>
                {
                    *cwd = *identity;
                }
                _ => model.must(Step::FileAction),
            },
            Action::CloseFrom(number) => {
                table.retain(|fd, _| *fd < number);
                model.may_if(look.has(|item| matches!(item, Item::ExecFd)), &[Step::FileAction]);
            }
            Action::Foreground(number) => {
                model.must_if(![0, 1, 2, fd::TTY, fd::PTY].contains(&number), Step::FileAction);
                model.may(&[Step::FileAction]);
            }
        }
    }
}

/// What is left after the exec, as the program is told it.
pub(crate) fn open_list(table: &Table) -> String {
    let is_open = |number: i32| table.get(&number).filter(|(_, cloexec)| !cloexec);
    let high = world::OPEN.into_iter().chain(world::NOT_OPEN).chain([fd::MESSAGES]);
    let numbers: BTreeSet<i32> =
        table.keys().copied().chain(high.filter(|number| *number >= 100)).collect();
    let mut list = Vec::new();
    for number in numbers {
        match is_open(number) {
            Some((Some((device, inode)), _)) => list.push(format!("{number}:{device:x}:{inode:x}")),
            Some((None, _)) => list.push(format!("{number}:*")),
            None if number >= 100 => list.push(format!("{number}:-")),
            None => {}
        }
    }
    list.join(",")
}
