//! The formats that texts and numbers may have. Source: `apiextensions-apiserver/pkg/apiserver/validation/formats.go` and
//! `kube-openapi/pkg/validation/strfmt`.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use regex::Regex;

use super::types;
use crate::structural::{
    Schema,
    pattern::{compile, compile_within},
};

/// Formats of texts.
const OF_TEXT: [&str; 26] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// The format of a schema, unless its type has none such: then it is not looked at.
pub fn effective(schema: &Schema) -> &str {
    let format = schema.values.format.as_str();
    if is_known(types(schema), format) { format } else { "" }
}

/// Values of this type can have this format.
pub fn is_known(kind: &str, format: &str) -> bool {
    match kind {
        "" | "string" | "integer,string" => is_of_text(format),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

/// It is a format of texts.
pub fn is_of_text(format: &str) -> bool {
    OF_TEXT.binary_search(&format.replace('-', "").as_str()).is_ok()
}

/// A text has a format.
pub fn matches(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "byte" => is(&BASE64, text),
        "cidr" => is_cidr(text),
        "creditcard" => is_credit_card(text),
        "date" => is_date(text),
        "datetime" => is_date_time(text),
        "duration" => is_duration(text),
        "email" => is(&EMAIL, text),
        "hexcolor" => is(&HEX_COLOR, text),
        "hostname" => is_hostname(text),
        "ipv4" => is_ipv4(text),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "k8slongname" => text.len() <= 253 && is(&LONG_NAME, text),
        "k8sshortname" => text.len() <= 63 && is(&SHORT_NAME, text),
        "mac" => is(&MAC, text),
        "rgbcolor" => is(&RGB_COLOR, text),
        "ssn" => is(&SSN, text),
        "uri" => is(&URI, text),
        "uuid" => is(&UUID, text),
        "uuid3" => is(&UUID, text) && has_uuid_version(text, '3', false),
        "uuid4" => is(&UUID, text) && has_uuid_version(text, '4', true),
        "uuid5" => is(&UUID, text) && has_uuid_version(text, '5', true),
        _ => true,
    }
}

type Lazy = LazyLock<Option<Regex>>;

static BASE64: Lazy =
    LazyLock::new(|| compile("^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$").ok());
static EMAIL: Lazy = LazyLock::new(|| compile(r"^(?:[^<>]*<[^@<>\s]+@[^@<>\s]+>|[^@<>\s]+@[^@<>\s]+)$").ok());
static HEX_COLOR: Lazy = LazyLock::new(|| compile("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$").ok());
static RGB_COLOR: Lazy = LazyLock::new(|| {
    let number = "(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])";
    compile(&format!(r"^rgb\(\s*{number}\s*,\s*{number}\s*,\s*{number}\s*\)$")).ok()
});
static SSN: Lazy = LazyLock::new(|| compile(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$").ok());
static URI: Lazy = LazyLock::new(|| compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:[^\s]+|/[^\s]*|\*)$").ok());
static UUID: Lazy =
    LazyLock::new(|| compile("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$").ok());
static MAC: Lazy = LazyLock::new(|| {
    compile(
        "(?i)^(?:[0-9a-f]{2}([:-])(?:[0-9a-f]{2}[:-]){4}[0-9a-f]{2}|[0-9a-f]{2}([:-])(?:[0-9a-f]{2}[:-]){6}[0-9a-f]{2}\
         |[0-9a-f]{4}\\.[0-9a-f]{4}\\.[0-9a-f]{4}(?:\\.[0-9a-f]{4})?)$",
    )
    .ok()
});
static SHORT_NAME: Lazy = LazyLock::new(|| compile("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok());
static LONG_NAME: Lazy =
    LazyLock::new(|| compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok());
static HOSTNAME: Lazy = LazyLock::new(|| {
    // Letters and symbols of all scripts, repeated.
    let limit = 64 * 1024 * 1024;
    compile_within(
        r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9\-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$",
        limit,
    )
    .ok()
});
static TIME: Lazy =
    LazyLock::new(|| compile("^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$").ok());
static DURATION: Lazy = LazyLock::new(|| compile(r"(\d+)\s*([A-Za-zµ]+)").ok());
static GO_DURATION: Lazy =
    LazyLock::new(|| compile(r"^[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$").ok());

fn is(regex: &Lazy, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

fn is_date(text: &str) -> bool {
    // jiff takes more forms than RFC 3339.
    text.len() == 10 && text.as_bytes()[4] == b'-' && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let Some((date, time)) = lower.split_once('t') else { return false };
    is_date(date) && is(&TIME, time.split('t').next().unwrap_or_default())
}

/// As Go parses durations, and as Scala writes them: `5 minutes`.
fn is_duration(text: &str) -> bool {
    if is(&GO_DURATION, text) {
        return true;
    }
    let is_unit = |unit: &str| {
        let unit = unit.to_lowercase();
        let short = ["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"];
        let long = ["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
        short.contains(&unit.as_str()) || long.iter().any(|long| unit.starts_with(long))
    };
    DURATION.as_ref().is_some_and(|regex| regex.captures_iter(text).any(|found| is_unit(&found[2])))
}

fn is_ipv4(text: &str) -> bool {
    let without_zeros: Vec<&str> = text.split('.').map(|part| part.trim_start_matches('0')).collect();
    let filled: Vec<&str> = without_zeros.iter().map(|part| if part.is_empty() { "0" } else { part }).collect();
    let whole = text.split('.').all(|part| !part.is_empty());
    (whole && filled.join(".").parse::<Ipv4Addr>().is_ok()) || (text.contains('.') && text.parse::<Ipv6Addr>().is_ok())
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let limit = if is_ipv4(address) && !address.contains(':') {
        32
    } else if address.parse::<Ipv6Addr>().is_ok() {
        128
    } else {
        return false;
    };
    !length.is_empty()
        && length.bytes().all(|byte| byte.is_ascii_digit())
        && length.parse::<u8>().is_ok_and(|length| length <= limit)
}

fn is_hostname(text: &str) -> bool {
    is(&HOSTNAME, text) && text.len() <= 255 && text.split('.').all(|part| part.len() <= 63)
}

/// The digits at which a UUID tells its version and variant.
fn has_uuid_version(text: &str, version: char, with_variant: bool) -> bool {
    let digits: Vec<char> = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    digits.get(12) == Some(&version) && (!with_variant || digits.get(16).is_some_and(|c| "89ab".contains(*c)))
}

fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let luhn: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, digit * 2) {
            (0, _) => *digit,
            (_, twice) if twice > 9 => twice - 9,
            (_, twice) => twice,
        })
        .sum();
    (13..=19).contains(&digits.len()) && luhn.is_multiple_of(10)
}

fn isbn_digits(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let text = isbn_digits(text);
    let digit = |(index, c): (usize, char)| match c {
        'X' if index == 9 => Some(10),
        c => c.to_digit(10),
    };
    let digits: Option<Vec<u32>> = text.chars().enumerate().map(digit).collect();
    digits.is_some_and(|digits| {
        let sum: u32 = (1..).zip(&digits).map(|(weight, digit)| weight * digit).sum();
        digits.len() == 10 && sum.is_multiple_of(11)
    })
}

fn is_isbn13(text: &str) -> bool {
    let digits: Option<Vec<u32>> = isbn_digits(text).chars().map(|c| c.to_digit(10)).collect();
    digits.is_some_and(|digits| {
        let sum: u32 = digits.iter().enumerate().map(|(i, digit)| if i % 2 == 0 { *digit } else { 3 * digit }).sum();
        digits.len() == 13 && sum.is_multiple_of(10)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_upstreams() {
        assert!(OF_TEXT.is_sorted());
        for (format, good, bad) in [
            ("date", "2026-11-27", "2026-13-01"),
            ("date-time", "2026-11-27T10:00:00.123Z", "2026-11-27 10:00:00"),
            ("date-time", "2026-11-27t10:00:00+01:00", "2026-11-27T25:00:00Z"),
            ("duration", "1h30m", "soon"),
            ("duration", "5 minutes", "5 parsecs"),
            ("byte", "aGVsbG8=", "aGVsbG8"),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv4", "010.0.0.1", "::1"),
            ("ipv6", "fe80::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("cidr", "fd00::/64", "fd00::"),
            ("uuid", "550E8400-e29b-41d4-a716-446655440000", "550E8400"),
            ("uuid3", "a987fbc9-4bed-3078-cf07-9141ba07c9f3", "550e8400-e29b-41d4-a716-446655440000"),
            ("uuid4", "550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-51d4-a716-446655440000"),
            ("uuid5", "987fbc97-4bed-5078-9f07-9141ba07c9f3", "987fbc97-4bed-5078-7f07-9141ba07c9f3"),
            ("email", "jane@example.com", "jane"),
            ("hostname", "example.com", "-a"),
            ("uri", "https://example.com/x", "example"),
            ("mac", "00:1a:2b:3c:4d:5e", "00:1a:2b"),
            ("hexcolor", "#fff", "#ff"),
            ("rgbcolor", "rgb(1, 2, 255)", "rgb(1,2,256)"),
            ("isbn", "978-0321751041", "978-0321751042"),
            ("isbn10", "0321751043", "0321751044"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("ssn", "111-22-3333", "11-22-3333"),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a.b-c", "A.b"),
        ] {
            assert!(matches(format, good), "{format}: {good}");
            assert!(!matches(format, bad), "{format}: {bad}");
        }
    }
}
