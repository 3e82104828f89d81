//! Every rule of every kind is broken by a golden case: a rule that nobody has seen to apply is a guess.
//!
//! A rule is a line of a kind's code that reports an error: `errors.invalid(…)`, `required(…, errors)` and the like. The
//! errors of the cases say which line found them; the lines that found none are told, but for those of `unseen_rules.txt`,
//! most of which would take a case too long to read. That list may only become shorter.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::cases;

/// The ways to report an error.
const REPORTS: &[&str] = &[
    "errors.required(",
    "errors.invalid(",
    "errors.invalid_unshown(",
    "errors.not_supported(",
    "errors.not_among(",
    "errors.type_invalid(",
    "errors.duplicate(",
    "errors.forbidden(",
    "errors.too_long(",
    "errors.too_many(",
    "errors.not_found(",
];

/// The checks of `validation.rs` that report in their caller's place.
const CHECKS: &[&str] = &[
    "nonnegative",
    "form",
    "required_form",
    "required",
    "required_choice",
    "choice",
    "port",
    "port_or_name",
    "int_or_percent",
    "at_most_100_percent",
    "immutable",
];

/// What is still free in the cluster is not for a case to say: it is tested where it is.
const ELSEWHERE: &str = "core/service/claim.rs";

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let is_test = entry.file_stem().is_some_and(|stem| stem == "tests");
        if entry.is_dir() && !is_test {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|end| end == "rs") && !is_test {
            found.push(entry);
        }
    }
}

/// A call of a check that is given the errors: on this line, or on lines of its own below.
fn is_check(line: &str) -> bool {
    CHECKS.iter().any(|check| {
        let call = format!("{check}(");
        let starts = line.match_indices(&call).any(|(at, _)| {
            let before = &line[..at];
            !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.')) && !before.ends_with("fn ")
        });
        starts && (line.contains("errors)") || line.ends_with('('))
    })
}

/// The lines of a source that are rules, from 1. Its unit tests are none.
fn rules(source: &str) -> Vec<u32> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let is_rule = |line: &str| REPORTS.iter().any(|report| line.contains(report)) || is_check(line);
    (1..).zip(code.lines()).filter(|(_, line)| is_rule(line)).map(|(number, _)| number).collect()
}

#[test]
fn rules_are_found_in_source() {
    let source = "fn form(x) {\n    errors.required(path, \"\");\n    form(a, b, errors);\n    form(\n        a,\n        errors,\n    );\n    name::form(a, b)\n}\n#[cfg(test)]\nerrors.invalid(x)";
    assert_eq!(rules(source), [2, 3, 4]);
}

#[test]
fn every_rule_is_shown_by_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let registry = root.join("src/registry");
    let groups = fs::read_dir(&registry).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for group in groups.filter(|folder| folder.join("cases").is_dir()) {
        sources(&group, &mut found);
    }
    assert!(found.len() > 80, "the sources are where they are looked for");
    let broken = cases::broken();
    let shown: BTreeSet<(PathBuf, u32)> =
        broken.into_iter().map(|(file, line)| (root.parent().unwrap().join(file), line)).collect();
    let mut unseen = BTreeSet::new();
    for path in found {
        let name = path.strip_prefix(&registry).unwrap().display().to_string();
        let source = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = source.lines().collect();
        let of_file =
            rules(&source).into_iter().filter(|line| name != ELSEWHERE && !shown.contains(&(path.clone(), *line)));
        unseen.extend(of_file.map(|line| format!("{name}: {}", lines[line as usize - 1].trim())));
    }
    let list = fs::read_to_string(registry.join("kinds/unseen_rules.txt")).unwrap();
    let listed: BTreeSet<String> = list.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let new: Vec<_> = unseen.difference(&listed).cloned().collect();
    assert!(new.is_empty(), "{} rules that no case breaks:\n{}", new.len(), new.join("\n"));
    let stale: Vec<_> = listed.difference(&unseen).cloned().collect();
    assert!(stale.is_empty(), "cases break these by now, so take them off unseen_rules.txt:\n{}", stale.join("\n"));
}
