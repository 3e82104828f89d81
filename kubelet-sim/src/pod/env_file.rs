//! Variables from a file that an init container has written. Source: KEP-3721.

/// The largest file that is read, in bytes. Source: `maxEnvFileSize` of the kubelet.
pub const MAX_BYTES: u64 = 64 << 10;

/// What a file of lines `NAME=value` says of a name; the last line counts. A value may be quoted, and `#` begins a comment.
pub fn value(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut values = lines.filter_map(|line| line.split_once('=')).filter(|(key, _)| key.trim() == name);
    values.next_back().map(|(_, value)| unquoted(value.trim()).to_owned())
}

fn unquoted(value: &str) -> &str {
    let between = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    between('\'').or_else(|| between('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_of_variables() {
        let text = "# A=0\nA=1\nB='two words'\nC = \"3\"\nA=4\nrest";
        for (name, expected) in
            [("A", Some("4")), ("B", Some("two words")), ("C", Some("3")), ("rest", None), ("# A", None)]
        {
            assert_eq!(value(text, name).as_deref(), expected, "{name}");
        }
    }
}
