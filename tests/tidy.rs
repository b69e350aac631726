//! The repository keeps its own rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rawspawn::Step;

use crate::common::skip;

/// The source tree; `None` where only the executable has come along.
fn tree() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    if root.join("Cargo.toml").exists() {
        return Some(root);
    }
    skip("the source tree, which is elsewhere");
    None
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The files below `dir` that end in `suffix`, relative to `root`.
fn files(root: &Path, dir: &str, suffix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![root.join(dir)];
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                rest.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                let path = path.strip_prefix(root).expect("below");
                found.insert(path.to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// What stands between backticks in `text`.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_changelog_has_the_version() {
    let Some(root) = tree() else { return };
    let version = format!("## {} ", env!("CARGO_PKG_VERSION"));
    assert!(read(&root.join("CHANGELOG.md")).contains(&version), "{version}");
}

#[test]
fn the_layout_in_the_docs_is_that_of_the_tree() {
    let Some(root) = tree() else { return };
    let design = read(&root.join("docs/design.md"));
    let named: BTreeSet<String> = design
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(quoted)
        .filter(|word| word.starts_with("src/") || word.starts_with("asm/"))
        .map(str::to_owned)
        .collect();
    let mut there = files(&root, "src", ".rs");
    there.append(&mut files(&root, "asm", ".S"));
    there.retain(|file| !file.ends_with("/tests.rs"));
    assert_eq!(named, there);
}

#[test]
fn unsafe_code_is_where_it_is_known_to_be() {
    let Some(root) = tree() else { return };
    let allowed: BTreeSet<String> = files(&root, "src", ".rs")
        .into_iter()
        .filter(|file| read(&root.join(file)).contains("allow(unsafe_code)"))
        .collect();
    let known = [
        "src/arch/mod.rs",          // the clone calls
        "src/array.rs",             // C strings by pointer
        "src/command/fork.rs",      // hooks
        "src/command/mod.rs",       // hooks
        "src/command/stdio.rs",     // FromRawFd
        "src/compile/fds/tests.rs", // a path of the test's own
        "src/compile/sandbox.rs",   // a filter by pointer
        "src/environ.rs",           // C's environ
        "src/fd.rs",                // OwnedFd
        "src/plan/mod.rs",          // the caller's storage
        "src/plan/owned.rs",        // copies of what ops point to
        "src/plan/pointee.rs",      // what ops point to
        "src/plan/tables.rs",       // a static by pointer
        "src/request.rs",           // hooks
        "src/spawn/around.rs",      // clone, text of maps
        "src/spawn/mod.rs",         // clone
        "src/spawn/stub.rs",        // an image of ops and of what they point to
        "src/sys.rs",               // system calls
        "src/text.rs",              // ASCII as text
    ];
    assert_eq!(allowed, known.map(str::to_owned).into());
}

#[test]
fn assembly_and_raw_calls_are_where_they_belong() {
    let Some(root) = tree() else { return };
    for file in files(&root, "src", ".rs") {
        let text = read(&root.join(&file));
        let is_arch = file.starts_with("src/arch/");
        assert!(is_arch || !text.contains("asm!("), "{file}");
        let may_call = ["src/sys.rs", "src/spawn/fallback.rs"].contains(&&*file);
        assert!(may_call || !text.contains("sc::syscall"), "{file}");
    }
}

#[test]
fn every_step_occurs_in_a_test() {
    let Some(root) = tree() else { return };
    let tests: String = files(&root, "tests", ".rs")
        .iter()
        .filter(|file| *file != "tests/tidy.rs")
        .map(|file| read(&root.join(file)))
        .collect();
    for step in Step::ALL {
        assert!(tests.contains(&format!("Step::{step:?}")), "{step:?}");
    }
}

#[test]
fn every_option_names_its_source() {
    let Some(root) = tree() else { return };
    let request = read(&root.join("src/request.rs"));
    // These two are the crate's own.
    let own = ["modes", "kernel"];
    for option in request.split("    pub const fn ").skip(1) {
        let name = option.split('(').next().expect("a name");
        let before = request.split(&format!("    pub const fn {name}(")).next().expect("docs");
        let docs = before.rsplit("\n\n").next().expect("docs");
        let takes_self = option.contains("&mut self");
        assert!(!takes_self || own.contains(&name) || docs.contains("/// # See"), "{name}");
    }
}

#[test]
fn every_test_that_the_docs_name_exists() {
    let Some(root) = tree() else { return };
    let hazards = read(&root.join("docs/hazards.md"));
    let mut count = 0;
    for (topic, test) in quoted(&hazards).filter_map(|word| word.split_once("::")) {
        let file = root.join(format!("tests/{topic}.rs"));
        if file.exists() {
            assert!(read(&file).contains(&format!("fn {test}(")), "{topic}::{test}");
            count += 1;
        }
    }
    assert!(count > 20, "where are they?");
}

#[test]
fn nothing_is_left_undone() {
    let Some(root) = tree() else { return };
    // In pieces, or this file would be the first.
    let marks = [["to", "do!("], ["#[ign", "ore"], ["allow(dead", "_code"], ["FIX", "ME"]];
    for dir in ["src", "tests", "examples", "examples-static", "testing"] {
        for file in files(&root, dir, ".rs") {
            let text = read(&root.join(&file));
            for mark in marks.map(|mark| mark.concat()) {
                assert!(!text.contains(&mark), "{file}: {mark}");
            }
        }
    }
}

#[test]
fn every_test_has_an_end() {
    let Some(root) = tree() else { return };
    let mut count = 0;
    for file in files(&root, "tests", ".rs").iter().filter(|file| *file != "tests/tidy.rs") {
        let text = read(&root.join(file));
        for test in text.split("#[test]\n").skip(1) {
            let body = test.split("\n}\n").next().expect("one part at least");
            let has_end = ["isolated(", "alone("].iter().any(|start| body.contains(start));
            let name = body.lines().find(|line| line.starts_with("fn ")).unwrap_or(body);
            assert!(has_end, "{file}: {name}: it could wait for ever");
            count += 1;
        }
    }
    assert!(count > 200, "{count} tests");
}
