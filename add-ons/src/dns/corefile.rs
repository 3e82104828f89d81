//! The Corefile: server blocks, each with zones and plugins. Source of the grammar: CoreDNS' manual, "Configuration", and
//! its `Caddyfile` parser, whose words for errors these are.

use std::path::Path;

use super::plugins::Plugins;

/// The port of a server block that names none.
const PORT: u16 = 53;

/// What is wrong with a Corefile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line} - Error during parsing: {message}")]
pub struct Error {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// A line of a server block: a plugin, what it is given, and the lines of its own block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directive {
    /// Its words, the first of which is the plugin's name.
    pub words: Vec<String>,
    /// Its own lines.
    pub block: Vec<Line>,
    /// Where it stands, from 1.
    pub line: usize,
}

/// A line of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The words.
    pub words: Vec<String>,
    /// Where it stands, from 1.
    pub line: usize,
}

impl Directive {
    /// The plugin.
    pub fn name(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    /// What it is given.
    pub fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

impl Line {
    /// Its first word, and the others.
    pub fn split(&self) -> (&str, &[String]) {
        self.words.split_first().map_or(("", &[]), |(first, rest)| (first, rest))
    }
}

/// Why a plugin cannot be had: the line, and what is wrong there.
pub type Wrong = (usize, String);

/// Too few words, or too many.
pub fn wrong_count(line: usize, after: &str) -> Wrong {
    (line, format!("Wrong argument count or unexpected line ending after '{after}'"))
}

/// A server: the names that it is for, and what becomes of a question.
#[derive(Debug)]
pub struct Server {
    /// Names in this zone; empty for all names.
    pub zone: String,
    /// The port that it serves.
    pub port: u16,
    /// What it does.
    pub plugins: Plugins,
}

/// A whole Corefile.
#[derive(Debug)]
pub struct Corefile {
    servers: Vec<Server>,
}

impl Corefile {
    /// Reads a Corefile. `read`: gives the files that plugins name.
    pub fn parse(path: &str, text: &str, read: &dyn Fn(&Path) -> Option<String>) -> Result<Self, Error> {
        let wrong = |(line, message)| Error { file: path.to_owned(), line, message };
        let mut servers = Vec::new();
        for (zones, directives) in blocks(text).map_err(wrong)? {
            for zone in zones {
                let (zone, port) =
                    parse_zone(&zone.0).ok_or_else(|| wrong((zone.1, format!("invalid zone '{}'", zone.0))))?;
                let plugins = Plugins::of(&zone, &directives, read).map_err(wrong)?;
                servers.push(Server { zone, port, plugins });
            }
        }
        if servers.is_empty() {
            return Err(wrong((1, "there is no server block".to_owned())));
        }
        Ok(Self { servers })
    }

    /// The server for a name, without its last dot, that is asked for at a port: that with the longest zone.
    pub fn server(&self, name: &str, port: u16) -> Option<&Server> {
        let fitting = self.servers.iter().filter(|server| server.port == port && is_in(name, &server.zone));
        fitting.max_by_key(|server| server.zone.len())
    }

    /// All servers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }
}

/// Whether a name is in a zone; both in lower case and without a last dot.
pub fn is_in(name: &str, zone: &str) -> bool {
    zone.is_empty() || name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A zone as it is compared.
pub fn zone_of(text: &str) -> String {
    text.trim_end_matches('.').to_lowercase()
}

/// `dns://example.org:1053`
fn parse_zone(text: &str) -> Option<(String, u16)> {
    let text = text.strip_prefix("dns://").unwrap_or(text);
    if text.contains("://") {
        return None;
    }
    match text.rsplit_once(':') {
        Some((zone, port)) => Some((zone_of(zone), port.parse().ok()?)),
        None => Some((zone_of(text), PORT)),
    }
}

/// The zones of a block, each with its line, and its directives.
type Block = (Vec<(String, usize)>, Vec<Directive>);

fn blocks(text: &str) -> Result<Vec<Block>, Wrong> {
    let mut lines = text.lines().enumerate().map(|(at, text)| Line { words: words(text), line: at + 1 });
    let mut lines = lines.by_ref().filter(|line| !line.words.is_empty());
    let mut blocks = Vec::new();
    let mut zones: Vec<(String, usize)> = Vec::new();
    let mut last = 1;
    while let Some(mut line) = lines.next() {
        last = line.line;
        let opens = line.words.last().is_some_and(|word| word == "{");
        if opens {
            line.words.pop();
        }
        let names = line.words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty());
        zones.extend(names.map(|name| (name.to_owned(), line.line)));
        if opens {
            if zones.is_empty() {
                return Err((line.line, "a server block needs a zone before '{'".to_owned()));
            }
            blocks.push((std::mem::take(&mut zones), directives(&mut lines, line.line)?));
        }
    }
    match zones.first() {
        Some((name, _)) => Err((last, format!("expected '{{' after '{name}'"))),
        None => Ok(blocks),
    }
}

fn directives(lines: &mut dyn Iterator<Item = Line>, opened: usize) -> Result<Vec<Directive>, Wrong> {
    let mut directives = Vec::new();
    while let Some(Line { mut words, line }) = lines.next() {
        if words == ["}"] {
            return Ok(directives);
        }
        let opens = words.last().is_some_and(|word| word == "{");
        if opens {
            words.pop();
        }
        let block = if opens { inner(lines, line)? } else { Vec::new() };
        directives.push(Directive { words, block, line });
    }
    Err((opened, "Unexpected EOF: a '{' has no '}'".to_owned()))
}

fn inner(lines: &mut dyn Iterator<Item = Line>, opened: usize) -> Result<Vec<Line>, Wrong> {
    let mut block = Vec::new();
    for line in lines {
        if line.words == ["}"] {
            return Ok(block);
        }
        block.push(line);
    }
    Err((opened, "Unexpected EOF: a '{' has no '}'".to_owned()))
}

/// The words of a line; quotes keep spaces, `#` begins a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '#' if !quoted && word.is_none() => break,
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As kubeadm writes it.
    const KUBEADM: &str = include_str!("corefile/kubeadm.Corefile");

    fn parse(text: &str) -> Result<Corefile, Error> {
        Corefile::parse("Corefile", text, &|_| None)
    }

    #[test]
    fn kubeadms_own_is_read() {
        let corefile = Corefile::parse("Corefile", KUBEADM, &|_| Some(String::new())).unwrap();
        let server = corefile.server("web.shop.svc.cluster.local", 53).unwrap();
        assert!(server.plugins.kubernetes.is_some() && server.plugins.loadbalance && server.plugins.errors);
        assert_eq!(server.plugins.reload, Some(super::super::plugins::RELOAD));
        assert!(corefile.server("web", 1053).is_none());
    }

    #[test]
    fn the_longest_zone_serves() {
        let corefile = parse(
            ".:53 {\n  log\n}\n# a stub domain\nexample.org, Example.com. {\n  errors\n}\na.example.org:53 {\n}\n",
        )
        .unwrap();
        for (name, expected) in [
            ("cluster.local", ""),
            ("example.org", "example.org"),
            ("b.example.org", "example.org"),
            ("notexample.org", ""),
            ("x.example.com", "example.com"),
            ("x.a.example.org", "a.example.org"),
        ] {
            assert_eq!(corefile.server(name, 53).unwrap().zone, expected, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, says) in [
            (".:53 {\n  nonsense\n}\n", 2, "Unknown directive 'nonsense'"),
            (".:53 {\n  errors\n", 1, "Unexpected EOF"),
            (".:53\n", 1, "expected '{' after '.:53'"),
            ("{\n}\n", 1, "needs a zone"),
            ("", 1, "there is no server block"),
            ("https://.:53 {\n}\n", 1, "invalid zone 'https://.:53'"),
            (".:x {\n}\n", 1, "invalid zone '.:x'"),
            (".:53 {\n  kubernetes {\n    pods sometimes\n  }\n}\n", 3, "pods"),
            (".:53 {\n  kubernetes {\n    ttl\n  }\n}\n", 3, "unexpected line ending after 'ttl'"),
            (".:53 {\n  kubernetes {\n    colour blue\n  }\n}\n", 3, "unknown property 'colour'"),
            (".:53 {\n  forward .\n}\n", 2, "unexpected line ending after 'forward'"),
            (".:53 {\n  forward . nobody\n}\n", 2, "nobody"),
            (".:53 {\n  rewrite name regex ( x\n}\n", 2, "invalid regex"),
            (".:53 {\n  cache never\n}\n", 2, "never"),
            (".:53 {\n  hosts {\n    10.0.0.300 a\n  }\n}\n", 3, "10.0.0.300"),
            (".:53 {\n  reload soon\n}\n", 2, "soon"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.line == line && error.message.contains(says), "{text:?}: {error}");
            assert!(error.to_string().starts_with(&format!("Corefile:{line} - Error during parsing: ")));
        }
    }

    #[test]
    fn lines_have_words() {
        for (line, expected) in [
            ("  a  b # c", &["a", "b"][..]),
            ("a \"b c\" d#e", &["a", "b c", "d#e"]),
            ("# all of it", &[]),
            ("a \"\"", &["a", ""]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
