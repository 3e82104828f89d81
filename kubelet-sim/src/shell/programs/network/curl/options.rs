//! What curl's arguments ask for.

use std::{net::IpAddr, time::Duration};

use super::super::seconds;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub urls: Vec<String>,
    pub silent: bool,
    pub show_error: bool,
    pub fail: bool,
    pub follow: bool,
    pub include: bool,
    pub head: bool,
    pub verbose: bool,
    pub insecure: bool,
    pub get: bool,
    pub remote_name: bool,
    pub output: Option<String>,
    pub write_out: Option<String>,
    pub method: Option<String>,
    pub agent: Option<String>,
    pub user: Option<String>,
    pub ca_file: Option<String>,
    pub headers: Vec<(String, String)>,
    pub data: Vec<Data>,
    pub max_time: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    /// Hosts and ports whose address is given.
    pub resolve: Vec<(String, u16, IpAddr)>,
}

/// A part of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Text(String),
    /// A file's content; without its line ends, unless it is binary.
    File {
        path: String,
        binary: bool,
    },
}

/// What arguments come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    Options(Options),
    Version,
    Wrong(String),
}

/// Long names of short options; those that take a value end with `=`.
const SHORT: [(char, &str); 24] = [
    ('s', "silent"),
    ('S', "show-error"),
    ('f', "fail"),
    ('L', "location"),
    ('i', "include"),
    ('I', "head"),
    ('v', "verbose"),
    ('k', "insecure"),
    ('G', "get"),
    ('O', "remote-name"),
    ('N', "no-buffer"),
    ('V', "version"),
    ('4', "ipv4"),
    ('g', "globoff"),
    ('o', "output="),
    ('w', "write-out="),
    ('X', "request="),
    ('A', "user-agent="),
    ('u', "user="),
    ('H', "header="),
    ('d', "data="),
    ('m', "max-time="),
    ('b', "cookie="),
    ('e', "referer="),
];

/// Long options that take a value and have no letter.
const VALUED: [&str; 13] = [
    "data-raw",
    "data-binary",
    "data-ascii",
    "json",
    "connect-timeout",
    "cacert",
    "resolve",
    "url",
    "retry",
    "retry-delay",
    "retry-max-time",
    "noproxy",
    "max-redirs",
];

/// Long options that change nothing here.
const IGNORED: [&str; 9] = [
    "no-buffer",
    "ipv4",
    "globoff",
    "no-progress-meter",
    "progress-bar",
    "compressed",
    "http1.1",
    "retry-connrefused",
    "no-keepalive",
];

/// Reads arguments.
pub fn parse(arguments: &[String]) -> Parsed {
    let mut options = Options::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let is_valued =
                VALUED.contains(&long) || SHORT.iter().any(|(_, name)| name.strip_suffix('=') == Some(long));
            let value = if is_valued {
                match words.next() {
                    Some(value) => value.clone(),
                    None => return Parsed::Wrong(format!("option --{long}: requires parameter")),
                }
            } else {
                String::new()
            };
            match long {
                "version" => return Parsed::Version,
                _ if options.set(long, value) => {}
                _ => return Parsed::Wrong(format!("option --{long}: is unknown")),
            }
            continue;
        }
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            options.urls.push(word.clone());
            continue;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            let Some((_, name)) = SHORT.iter().find(|(short, _)| *short == letter) else {
                return Parsed::Wrong(format!("option -{letter}: is unknown"));
            };
            let Some(name) = name.strip_suffix('=') else {
                if *name == "version" {
                    return Parsed::Version;
                }
                options.set(name, String::new());
                continue;
            };
            let rest: String = letters.by_ref().collect();
            let value = if rest.is_empty() { words.next().cloned() } else { Some(rest) };
            let Some(value) = value else { return Parsed::Wrong(format!("option -{letter}: requires parameter")) };
            options.set(name, value);
        }
    }
    Parsed::Options(options)
}

impl Options {
    /// Takes an option in; whether it is known.
    fn set(&mut self, name: &str, value: String) -> bool {
        match name {
            "silent" => self.silent = true,
            "show-error" => self.show_error = true,
            "fail" => self.fail = true,
            "location" => self.follow = true,
            "include" => self.include = true,
            "head" => self.head = true,
            "verbose" => self.verbose = true,
            "insecure" => self.insecure = true,
            "get" => self.get = true,
            "remote-name" => self.remote_name = true,
            "output" => self.output = Some(value),
            "write-out" => self.write_out = Some(value),
            "request" => self.method = Some(value),
            "user-agent" => self.agent = Some(value),
            "user" => self.user = Some(value),
            "cacert" => self.ca_file = Some(value),
            "url" => self.urls.push(value),
            "cookie" => self.headers.push(("Cookie".to_owned(), value)),
            "referer" => self.headers.push(("Referer".to_owned(), value)),
            "header" => self.header(&value),
            "json" => {
                self.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                self.data.push(data(&value, true));
            }
            "data" | "data-ascii" => self.data.push(data(&value, false)),
            "data-binary" => self.data.push(data(&value, true)),
            "data-raw" => self.data.push(Data::Text(value)),
            "max-time" => self.max_time = seconds(&value),
            "connect-timeout" => self.connect_timeout = seconds(&value),
            "resolve" => {
                let mut parts = value.splitn(3, ':');
                if let (Some(host), Some(Ok(port)), Some(Ok(address))) =
                    (parts.next(), parts.next().map(str::parse), parts.next().map(str::parse))
                {
                    self.resolve.push((host.to_owned(), port, address));
                }
            }
            name => return VALUED.contains(&name) || IGNORED.contains(&name),
        }
        true
    }

    fn header(&mut self, text: &str) {
        if let Some((name, value)) = text.split_once(':') {
            self.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }

    /// The request's body, with files that `read` gives.
    pub fn body(&self, read: impl Fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        if self.data.is_empty() || self.get {
            return None;
        }
        let parts = self.data.iter().map(|part| match part {
            Data::Text(text) => text.clone().into_bytes(),
            Data::File { path, binary } => {
                let mut content = read(path).unwrap_or_default();
                if !binary {
                    content.retain(|byte| !matches!(byte, b'\n' | b'\r'));
                }
                content
            }
        });
        Some(parts.collect::<Vec<_>>().join(&b'&'))
    }
}

fn data(value: &str, binary: bool) -> Data {
    match value.strip_prefix('@') {
        Some(path) => Data::File { path: path.to_owned(), binary },
        None => Data::Text(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match parse(&words) {
            Parsed::Options(options) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn arguments_are_read() {
        let read = options("-sS -o /dev/null -w %{http_code} --max-time 2.5 -H Host:web.example.com http://web");
        assert!(read.silent && read.show_error);
        assert_eq!((read.output.as_deref(), read.write_out.as_deref()), (Some("/dev/null"), Some("%{http_code}")));
        assert_eq!(read.max_time, Some(Duration::from_millis(2500)));
        assert_eq!(read.headers, [("Host".to_owned(), "web.example.com".to_owned())]);
        assert_eq!(read.urls, ["http://web"]);
        assert_eq!(options("-m1 -XPUT -kL a b").method.as_deref(), Some("PUT"));
        let read = options("-d a=1 -d @/f --data-binary @/g x");
        assert_eq!(read.body(|path| Some(format!("{path}\n").into_bytes())), Some(b"a=1&/f&/g\n".to_vec()));
        assert_eq!(options("x").body(|_| None), None);
        let read = options("--resolve web:443:10.0.0.1 https://web");
        assert_eq!(read.resolve, [("web".to_owned(), 443, IpAddr::from([10, 0, 0, 1]))]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (line, why) in [
            ("-@ x", "option -@: is unknown"),
            ("--nonsense", "option --nonsense: is unknown"),
            ("-o", "option -o: requires parameter"),
            ("--cacert", "option --cacert: requires parameter"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(parse(&words), Parsed::Wrong(why.to_owned()), "{line}");
        }
    }
}
