//! What names, labels and keys must look like. Each check returns what is wrong, in upstream's words; nothing when all
//! is well. Source: `k8s.io/apimachinery/pkg/util/validation` and `pkg/api/validate/content`.

mod random;

pub(crate) use random::ALPHABET;
pub use random::{generate, suffix};

const SUBDOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const WORD: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const WORD_OR_NOTHING: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// An RFC 1123 label: `my-name`, `123-abc`.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > LABEL_MAX {
        wrong.push(too_many_characters(LABEL_MAX));
    }
    if !is_label(value) {
        if is_subdomain(value) {
            wrong.push("must not contain dots".to_owned());
        } else {
            let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                        start and end with an alphanumeric character";
            wrong.push(not_matching(rule, LABEL, &["my-name", "123-abc"]));
        }
    }
    wrong
}

/// An RFC 1123 subdomain: `example.com`.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    subdomain_counted_in(value, too_many_characters)
}

fn subdomain_counted_in(value: &str, too_many: fn(usize) -> String) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        wrong.push(too_many(SUBDOMAIN_MAX));
    }
    if !is_subdomain(value) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                    must start and end with an alphanumeric character";
        wrong.push(not_matching(rule, SUBDOMAIN, &["example.com"]));
    }
    wrong
}

/// An RFC 1123 subdomain whose labels may hold underscores, as those of service records do: `_http._tcp.example.com`.
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    const FORM: &str = r"[a-z0-9_]([-_a-z0-9]*[a-z0-9])?(\.[a-z0-9_]([-_a-z0-9]*[a-z0-9])?)*";
    let mut wrong = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        wrong.push(too_many_characters(SUBDOMAIN_MAX));
    }
    let is_inner = |byte: u8| is_label_byte(byte) || byte == b'_';
    let is_label = |label: &str| match label.as_bytes() {
        [] => false,
        [only] => *only != b'-' && is_inner(*only),
        [first, inner @ .., last] => {
            *first != b'-'
                && is_inner(*first)
                && inner.iter().all(|byte| is_inner(*byte))
                && is_label_byte(*last)
                && *last != b'-'
        }
    };
    if !value.split('.').all(is_label) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', \
                    and must start and end with an alphanumeric character";
        wrong.push(not_matching(rule, FORM, &["example.com"]));
    }
    wrong
}

/// An RFC 1123 subdomain that may begin with `*.`: `*.example.com`.
pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        wrong.push(too_many_characters(SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        let rule = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                    consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        wrong.push(not_matching(rule, &format!(r"\*\.{SUBDOMAIN}"), &["*.example.com"]));
    }
    wrong
}

/// An RFC 1035 label: like RFC 1123's, but it begins with a letter.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > LABEL_MAX {
        wrong.push(too_many_characters(LABEL_MAX));
    }
    if !(is_label(value) && value.starts_with(|c: char| c.is_ascii_lowercase())) {
        let rule = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                    alphabetic character, and end with an alphanumeric character";
        wrong.push(not_matching(rule, LABEL_1035, &["my-name", "abc-123"]));
    }
    wrong
}

/// A label's or an annotation's key, a finalizer, a resource's name: `[example.com/]MyName`.
pub fn label_key(value: &str) -> Vec<String> {
    let rule = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                character";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut wrong = Vec::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match *parts {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                let prefixed = subdomain_counted_in(prefix, too_many_bytes).into_iter();
                wrong.extend(prefixed.map(|wrong| format!("prefix part {wrong}")));
            }
            name
        }
        _ => {
            let form = not_matching(&format!("a valid label key {rule}"), WORD, &examples);
            return vec![format!("{form} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part {}", too_many_bytes(LABEL_MAX)));
    }
    if !is_word(name) {
        wrong.push(format!("name part {}", not_matching(rule, WORD, &examples)));
    }
    wrong
}

/// A label's value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > LABEL_MAX {
        wrong.push(too_many_bytes(LABEL_MAX));
    }
    if !value.is_empty() && !is_word(value) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                    must start and end with an alphanumeric character";
        wrong.push(not_matching(rule, WORD_OR_NOTHING, &["MyValue", "my_value", "12345"]));
    }
    wrong
}

/// Any name that can stand in a URL's path: RBAC's kinds.
pub fn path_segment(value: &str) -> Vec<String> {
    if matches!(value, "." | "..") {
        return vec![format!("may not be '{value}'")];
    }
    path_segment_prefix(value)
}

/// The beginning of a [`path_segment`].
pub fn path_segment_prefix(value: &str) -> Vec<String> {
    let contained = ["/", "%"].into_iter().filter(|text| value.contains(text));
    contained.map(|text| format!("may not contain '{text}'")).collect()
}

/// A port's name, as RFC 6335 wants it: `http`, `dns-tcp`.
pub fn port_name(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > 15 {
        wrong.push(too_many_characters(15));
    }
    if value.is_empty() || !value.bytes().all(is_label_byte) {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// A port's number.
pub fn port_number(value: i64) -> Vec<String> {
    in_range(value, 1, 65535)
}

/// A number between two others, both allowed.
pub fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&value) {
        Vec::new()
    } else {
        vec![format!("must be between {low} and {high}, inclusive")]
    }
}

/// An environment variable's name. Source: KEP-4369, which allows all printable ASCII but `=`.
pub fn env_var(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=') {
        let rule = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        wrong.push(rule.to_owned());
    }
    wrong
}

/// A key of a ConfigMap or a Secret.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        wrong.push(too_many_characters(SUBDOMAIN_MAX));
    }
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        wrong.push(not_matching(rule, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match value {
        "." | ".." => wrong.push(format!("must not be '{value}'")),
        _ if value.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// A C identifier.
pub fn c_identifier(value: &str) -> Vec<String> {
    let mut bytes = value.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Vec::new();
    }
    let rule = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric \
                characters or '_'";
    vec![not_matching(rule, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"])]
}

/// A percentage: `25%`.
pub fn percent(value: &str) -> Vec<String> {
    match value.strip_suffix('%') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => Vec::new(),
        _ => {
            let rule = "a valid percent string must be a numeric string followed by an ending '%'";
            vec![not_matching(rule, "[0-9]+%", &["1%", "93%"])]
        }
    }
}

/// The name of an HTTP header.
pub fn http_header(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    let rule = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![not_matching(rule, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn is_label(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(is_label_byte) && !value.starts_with('-') && !value.ends_with('-')
}

fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

fn is_word(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn too_many_characters(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

fn too_many_bytes(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn not_matching(rule: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<_> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> Vec<String>;

    #[test]
    fn good_and_bad_names() {
        let long = |length| "a".repeat(length);
        let table: &[(&str, Check, &[&str], &[&str])] = &[
            (
                "dns1123_label",
                dns1123_label,
                &["a", "0", "a-1", "1-a", &long(63)],
                &["", "A", "a.b", "-a", "a-", "a_b", "é", &long(64)],
            ),
            (
                "dns1123_subdomain",
                dns1123_subdomain,
                &["a", "a.b", "1.2-3.c", &long(253)],
                &["", ".", "a.", ".a", "a..b", "A", "a.-b", &long(254)],
            ),
            (
                "wildcard_dns1123_subdomain",
                wildcard_dns1123_subdomain,
                &["*.a.b"],
                &["*", "*.", "a.*.b", "*.*.a", "*a.b"],
            ),
            (
                "dns1123_subdomain_with_underscore",
                dns1123_subdomain_with_underscore,
                &["a", "_http._tcp.a-b.c", "_"],
                &["", "a_", "-a", "a..b", "A"],
            ),
            ("dns1035_label", dns1035_label, &["a", "a-1"], &["", "1a", "-a", "a.b", &long(64)]),
            (
                "label_key",
                label_key,
                &["a", "A_b.c-1", "example.com/a", &format!("{}/{}", long(253), long(63))],
                &["", "/a", "a/", "a/b/c", "Example.com/a", "-a", "a-", "%", &long(64)],
            ),
            ("label_value", label_value, &["", "a", "1-a_B.c"], &["-a", "a.", "a b", "Māori", &long(64)]),
            ("path_segment", path_segment, &["", "a", "system:node", "..a"], &[".", "..", "a/b", "a%"]),
            ("port_name", port_name, &["a", "http", "1-a", "dns-tcp"], &["", "A", "1", "a--b", "-a", "a-", &long(16)]),
            ("env_var", env_var, &["a", "A B", "1", "x-y.z"], &["", "a=b", "é", "a\n"]),
            (
                "config_map_key",
                config_map_key,
                &["a", ".a", "A_b-c.d", &long(253)],
                &["", ".", "..", "..a", "a/b", &long(254)],
            ),
            ("c_identifier", c_identifier, &["a", "_1", "A_1"], &["", "1", "a-b"]),
            ("percent", percent, &["0%", "125%"], &["", "%", "1", "-1%", "1%%"]),
            ("http_header", http_header, &["X-A", "1"], &["", "a_b", "a b"]),
        ];
        for (name, check, good, bad) in table {
            for value in *good {
                assert_eq!(check(value), Vec::<String>::new(), "{name}({value:?})");
            }
            for value in *bad {
                assert_ne!(check(value), Vec::<String>::new(), "{name}({value:?})");
            }
        }
    }

    #[test]
    fn refusals_read_as_upstreams() {
        for (wrong, text) in [
            (dns1123_label("a.b"), "must not contain dots"),
            (
                dns1123_label("A"),
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                 and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ),
            (
                dns1123_subdomain("A"),
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                 must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
            (dns1123_label(&"a".repeat(64)), "must be no more than 63 characters"),
            (label_value(&"a".repeat(64)), "must be no more than 63 bytes"),
            (path_segment(".."), "may not be '..'"),
            (port_number(0), "must be between 1 and 65535, inclusive"),
        ] {
            assert_eq!(wrong, [text]);
        }
    }
}
