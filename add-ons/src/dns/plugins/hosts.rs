//! `hosts`: names and addresses as in `/etc/hosts`. Source: the documentation of CoreDNS' `hosts`.

use std::{net::IpAddr, path::Path};

use super::{
    super::{
        answer::{Answer, Data, Kind, Record},
        corefile::{Directive, Wrong, is_in, zone_of},
        name::{Asked, parse},
    },
    fallthrough, only,
};

/// How long answers may be kept, in seconds. Source: CoreDNS.
const TTL: u32 = 3600;

/// The names.
#[derive(Clone, Debug)]
pub struct Hosts {
    entries: Vec<(IpAddr, Vec<String>)>,
    zones: Vec<String>,
    fallthrough: Vec<String>,
    reverse: bool,
    /// How long answers may be kept, in seconds.
    pub ttl: u32,
}

impl Hosts {
    /// `hosts [FILE [ZONES…]] { ADDRESS NAMES…; ttl; no_reverse; fallthrough }`
    pub fn of(zone: &str, line: &Directive, read: &dyn Fn(&Path) -> Option<String>) -> Result<Self, Wrong> {
        let (file, zones) = line.arguments().split_first().map_or((None, &[][..]), |(file, zones)| (Some(file), zones));
        let zones: Vec<String> = zones.iter().map(|zone| zone_of(zone)).collect();
        let mut hosts = Self {
            entries: Vec::new(),
            zones: if zones.is_empty() { vec![zone.to_owned()] } else { zones },
            fallthrough: Vec::new(),
            reverse: true,
            ttl: TTL,
        };
        for line in &line.block {
            match line.split() {
                ("fallthrough", _) => hosts.fallthrough = fallthrough(line),
                ("no_reverse", _) => hosts.reverse = false,
                ("reload", _) => {}
                ("ttl", _) => {
                    let text = only(line)?;
                    let wrong = || (line.line, format!("plugin/hosts: ttl needs a number of second: {text}"));
                    hosts.ttl = text.parse().map_err(|_| wrong())?;
                }
                (address, names) => {
                    let wrong = || (line.line, format!("plugin/hosts: '{address}' is no address"));
                    hosts.add(address.parse().map_err(|_| wrong())?, names);
                }
            }
        }
        let text = file.and_then(|file| read(Path::new(file))).unwrap_or_default();
        for line in text.lines() {
            let words: Vec<String> =
                line.split('#').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
            if let Some((address, names)) = words.split_first()
                && let Ok(address) = address.parse()
            {
                hosts.add(address, names);
            }
        }
        Ok(hosts)
    }

    fn add(&mut self, address: IpAddr, names: &[String]) {
        self.entries.push((address, names.iter().map(|name| zone_of(name)).collect()));
    }

    /// The answer to a question; none, if somebody else is to be asked.
    pub fn answer(&self, name: &str, kind: Kind) -> Option<Answer> {
        if !self.zones.iter().any(|zone| is_in(name, zone)) {
            return None;
        }
        let record = |data| Record { name: name.to_owned(), data };
        let records: Vec<Record> = match parse(name) {
            Asked::Address(address) if self.reverse => {
                let known = self.entries.iter().filter(|(own, _)| *own == address);
                known.flat_map(|(_, names)| names).map(|name| record(Data::Ptr(name.clone()))).collect()
            }
            _ => {
                let known = self.entries.iter().filter(|(_, names)| names.iter().any(|own| own == name));
                known.map(|(address, _)| record(Data::Address(*address))).collect()
            }
        };
        let exists = !records.is_empty();
        // A name that is not here is somebody else's, where the Corefile says so; and it does for most.
        if !exists
            && (self.fallthrough.iter().any(|zone| is_in(name, zone)) || matches!(parse(name), Asked::Address(_)))
        {
            return None;
        }
        let records = records.into_iter().filter(|record| kind.fits(&record.data)).collect();
        Some(Answer { exists, is_ours: true, records, ..Answer::default() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::super::corefile::Line, *};

    #[test]
    fn names_stand_in_the_corefile_and_in_a_file() {
        let lines = ["10.0.0.1 Example.org www.example.org", "fd00::1 example.org", "fallthrough org", "ttl 60"];
        let line =
            |(at, text): (usize, &&str)| Line { words: text.split(' ').map(str::to_owned).collect(), line: at + 1 };
        let directive = Directive {
            words: vec!["hosts".into(), "/etc/more".into()],
            block: lines.iter().enumerate().map(line).collect(),
            line: 1,
        };
        let read = |_: &Path| Some("# more\n10.0.0.2 file.net\n".to_owned());
        let hosts = Hosts::of("", &directive, &read).unwrap();
        let said = |name: &str, kind| {
            let answer = hosts.answer(name, kind)?;
            let shown = |record: &Record| match &record.data {
                Data::Address(address) => address.to_string(),
                Data::Ptr(name) => name.clone(),
                other => format!("{other:?}"),
            };
            let records: Vec<String> = answer.records.iter().map(shown).collect();
            Some(if answer.exists { records.join(" ") } else { "NXDOMAIN".to_owned() })
        };
        for (name, kind, expected) in [
            ("example.org", Kind::A, Some("10.0.0.1")),
            ("example.org", Kind::Aaaa, Some("fd00::1")),
            ("www.example.org", Kind::Aaaa, Some("")),
            ("file.net", Kind::A, Some("10.0.0.2")),
            ("other.org", Kind::A, None),
            ("other.net", Kind::A, Some("NXDOMAIN")),
            ("1.0.0.10.in-addr.arpa", Kind::Ptr, Some("example.org www.example.org")),
            ("9.0.0.10.in-addr.arpa", Kind::Ptr, None),
        ] {
            assert_eq!(said(name, kind).as_deref(), expected, "{name} {kind:?}");
        }
        assert_eq!(hosts.ttl, 60);
    }
}
