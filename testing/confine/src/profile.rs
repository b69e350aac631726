//! A profile as text: a line a rule, the first that matches a call decides.
//!
//! ```text
//! # A comment, to the end of the line.
//! default ACTION              what becomes of a call without a rule
//! newer ACTION                of one with a higher number than all that are named
//! capabilities NAME...        what is left of root's; all, without such a line
//! ACTION CALL...              of these calls
//! ACTION CALL if CONDITION [and CONDITION]
//! ```
//!
//! An action is `allow` or the name of an errno. A condition is `argN = VALUE`, `argN != VALUE`,
//! or the same of `argN & MASK`.

use syscalls::Sysno;

use crate::capabilities;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Errno(i32),
}

/// What an argument must be for a rule to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) argument: u32,
    pub(crate) mask: u64,
    pub(crate) value: u64,
    pub(crate) equal: bool,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    pub(crate) call: u32,
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) default: Action,
    pub(crate) newer: Option<Action>,
    pub(crate) rules: Vec<Rule>,
    /// The bits of those that are kept; `None`: all.
    pub(crate) capabilities: Option<u64>,
}

/// Reads a profile.
pub(crate) fn parse(text: &str) -> Result<Profile, String> {
    let mut default = None;
    let mut newer = None;
    let mut rules = Vec::new();
    let mut kept = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        let at = |error: String| format!("line {}: {error}", number + 1);
        match words.as_slice() {
            [] => {}
            ["default", word] => default = Some(action(word).map_err(at)?),
            ["newer", word] => newer = Some(action(word).map_err(at)?),
            ["capabilities", names @ ..] => {
                for name in names {
                    let bit = capabilities::bit(name).ok_or_else(|| at(format!("{name}?")))?;
                    kept = Some(kept.unwrap_or(0) | bit);
                }
            }
            [word, name, "if", condition @ ..] => {
                let conditions = conditions(condition).map_err(at)?;
                let call = call(name).map_err(at)?;
                let action = action(word).map_err(at)?;
                rules.extend(call.map(|call| Rule { action, call, conditions }));
            }
            [word, names @ ..] => {
                let action = action(word).map_err(at)?;
                for name in names {
                    let call = call(name).map_err(at)?;
                    rules.extend(call.map(|call| Rule { action, call, conditions: Vec::new() }));
                }
            }
        }
    }
    let default = default.ok_or("no line says what the default is")?;
    Ok(Profile { default, newer, rules, capabilities: kept })
}

fn action(word: &str) -> Result<Action, String> {
    let errno = match word {
        "allow" => return Ok(Action::Allow),
        "EPERM" => libc::EPERM,
        "EACCES" => libc::EACCES,
        "EINVAL" => libc::EINVAL,
        "ENOSYS" => libc::ENOSYS,
        "EOPNOTSUPP" => libc::EOPNOTSUPP,
        _ => return Err(format!("{word}: no action")),
    };
    Ok(Action::Errno(errno))
}

/// The number of the call `name`. The profiles are those of x86-64: elsewhere some calls do
/// not exist, and have none.
fn call(name: &str) -> Result<Option<u32>, String> {
    match name.parse::<Sysno>() {
        Ok(call) => Ok(Some(call as u32)),
        Err(()) if cfg!(target_arch = "x86_64") => Err(format!("{name}: no system call")),
        Err(()) => Ok(None),
    }
}

fn conditions(words: &[&str]) -> Result<Vec<Condition>, String> {
    words.split(|word| *word == "and").map(condition).collect()
}

fn condition(words: &[&str]) -> Result<Condition, String> {
    let (argument, mask, relation, value) = match words {
        [argument, "&", mask, relation, value] => (argument, number(mask)?, relation, value),
        [argument, relation, value] => (argument, u64::MAX, relation, value),
        _ => return Err(format!("{}: no condition", words.join(" "))),
    };
    let equal = match *relation {
        "=" => true,
        "!=" => false,
        other => return Err(format!("{other}: no relation")),
    };
    let argument = argument.strip_prefix("arg").and_then(|digit| digit.parse().ok());
    let argument = argument.filter(|index| *index < 6).ok_or("an argument is arg0 to arg5")?;
    Ok(Condition { argument, mask, value: number(value)?, equal })
}

fn number(word: &str) -> Result<u64, String> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|error| format!("{word}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{Action, Condition, parse};

    #[test]
    fn every_profile_can_be_read_and_names_its_source() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
        let mut count = 0;
        for entry in std::fs::read_dir(directory).expect("the profiles") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a text");
            assert!(text.contains("\n# Source: "), "{}", path.display());
            let profile =
                parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let refuses = |rule: &super::Rule| rule.action != Action::Allow;
            let limits = profile.default != Action::Allow || profile.rules.iter().any(refuses);
            assert!(limits, "{} refuses nothing", path.display());
            count += 1;
        }
        assert!(count >= 5, "{count} profiles");
    }

    #[test]
    fn a_rule_may_have_conditions() {
        let profile =
            parse("default ENOSYS\nallow clone if arg0 & 0xf0 = 0 and arg5 != 7 # or not");
        let profile = profile.expect("a profile");
        let [rule] = profile.rules.as_slice() else { panic!("{:?}", profile.rules) };
        let masked = Condition { argument: 0, mask: 0xf0, value: 0, equal: true };
        let plain = Condition { argument: 5, mask: u64::MAX, value: 7, equal: false };
        assert_eq!(rule.conditions, [masked, plain]);
        assert_eq!(profile.default, Action::Errno(libc::ENOSYS));
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        for text in [
            "allow read",
            "default allow\nallow reed",
            "default allow\ncapabilities nothing",
            "default allow\nEWHAT read",
            "default allow\nallow read if arg6 = 1",
            "default allow\nallow read if arg0 < 1",
            "default allow\nallow read if arg0",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!text.contains('\n') || error.starts_with("line 2: "), "{text}: {error}");
        }
    }
}
