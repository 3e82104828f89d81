//! `rewrite name`: another name is asked for, and its answer is given under the name that was asked for. Source: the
//! documentation of CoreDNS' `rewrite`.

use regex::Regex;

use super::super::corefile::{Directive, Wrong, wrong_count, zone_of};

/// A rule.
#[derive(Clone, Debug)]
pub struct Rewrite {
    from: Match,
    to: String,
    /// The next rule is tried as well.
    goes_on: bool,
}

#[derive(Clone, Debug)]
enum Match {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Substring(String),
    Expression(Box<Regex>),
}

impl Rewrite {
    /// `rewrite [continue|stop] name [exact|prefix|suffix|substring|regex] FROM TO [answer …]`, or the same as the first line of
    /// a block.
    pub fn of(line: &Directive) -> Result<Self, Wrong> {
        let mut words: Vec<&str> = line.arguments().iter().map(String::as_str).collect();
        let goes_on = words.first() == Some(&"continue");
        if matches!(words.first(), Some(&("continue" | "stop"))) {
            words.remove(0);
        }
        if let (true, Some(first)) = (words.is_empty(), line.block.first()) {
            words.extend(first.words.iter().map(String::as_str));
        }
        let Some((&"name", rest)) = words.split_first() else {
            let field = words.first().copied().unwrap_or_default();
            return Err((line.line, format!("plugin/rewrite: only names are rewritten here, not '{field}'")));
        };
        let (kind, from, to) = match rest {
            [kind @ ("exact" | "prefix" | "suffix" | "substring" | "regex"), from, to, ..] => (*kind, *from, *to),
            [from, to] => ("exact", *from, *to),
            _ => return Err(wrong_count(line.line, rest.last().copied().unwrap_or("name"))),
        };
        let wrong = |error| (line.line, format!("plugin/rewrite: invalid regex pattern in a name rule: {error}"));
        let from = match kind {
            "prefix" => Match::Prefix(from.to_lowercase()),
            "suffix" => Match::Suffix(zone_of(from)),
            "substring" => Match::Substring(from.to_lowercase()),
            // The name that CoreDNS compares ends with a dot, and so may the expression.
            "regex" => Match::Expression(Box::new(Regex::new(from).map_err(wrong)?)),
            _ => Match::Exact(zone_of(from)),
        };
        Ok(Self { from, to: to.to_owned(), goes_on })
    }

    /// The name that is asked for in the place of this one; both in lower case and without the last dot.
    fn apply(&self, name: &str) -> Option<String> {
        let new = match &self.from {
            Match::Exact(own) => (own == name).then(|| self.to.clone()),
            Match::Prefix(own) => name.strip_prefix(own.as_str()).map(|rest| format!("{}{rest}", self.to)),
            Match::Suffix(own) => {
                name.strip_suffix(own.as_str()).map(|rest| format!("{rest}{}", self.to.trim_end_matches('.')))
            }
            Match::Substring(own) => name.contains(own.as_str()).then(|| name.replace(own.as_str(), &self.to)),
            Match::Expression(own) => {
                let whole = format!("{name}.");
                let groups = own.captures(&whole).or_else(|| own.captures(name))?;
                let numbered =
                    groups.iter().enumerate().map(|(i, group)| (i, group.map_or("", |group| group.as_str())));
                Some(numbered.fold(self.to.clone(), |to, (i, group)| to.replace(&format!("{{{i}}}"), group)))
            }
        };
        new.map(|name| zone_of(&name))
    }
}

/// The name that is asked for after all rules.
pub fn rewritten(rules: &[Rewrite], name: &str) -> String {
    let mut name = name.to_owned();
    for rule in rules {
        if let Some(new) = rule.apply(&name) {
            name = new;
            if !rule.goes_on {
                break;
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_rewritten() {
        let rules = |lines: &[&str]| -> Vec<Rewrite> {
            let rule = |line: &&str| {
                Rewrite::of(&Directive { words: line.split(' ').map(str::to_owned).collect(), ..Directive::default() })
            };
            lines.iter().map(|line| rule(line).unwrap()).collect()
        };
        for (lines, name, expected) in [
            (
                &["rewrite name foo.example.com web.shop.svc.cluster.local"][..],
                "foo.example.com",
                "web.shop.svc.cluster.local",
            ),
            (&["rewrite name foo.example.com web.shop.svc.cluster.local"], "x.foo.example.com", "x.foo.example.com"),
            (&["rewrite name exact a.b. c.d."], "a.b", "c.d"),
            (&["rewrite name suffix .my.org .shop.svc.cluster.local"], "web.my.org", "web.shop.svc.cluster.local"),
            (&["rewrite name prefix old- new-"], "old-web.x", "new-web.x"),
            (&["rewrite name substring staging prod"], "a.staging.b", "a.prod.b"),
            (
                &["rewrite stop name regex (.*)\\.my\\.org\\.? {1}.shop.svc.cluster.local answer auto"],
                "web.my.org",
                "web.shop.svc.cluster.local",
            ),
            (&["rewrite name regex ^(a)-(b)\\.$ {2}.{1}"], "a-b", "b.a"),
            (&["rewrite name a b", "rewrite name b c"], "a", "b"),
            (&["rewrite continue name a b", "rewrite name b c"], "a", "c"),
        ] {
            assert_eq!(rewritten(&rules(lines), name), expected, "{lines:?} {name}");
        }
    }
}
