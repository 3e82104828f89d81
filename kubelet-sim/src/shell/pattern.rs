//! Patterns of file names and of `case`.

/// A pattern of `*`, `?` and `[…]`; characters that were quoted stand for themselves.
#[derive(Clone, Debug, Default)]
pub struct Pattern(pub(super) Vec<(char, bool)>);

impl Pattern {
    /// A pattern without quotes.
    pub fn plain(text: &str) -> Self {
        Self(text.chars().map(|c| (c, false)).collect())
    }

    /// Whether it matches one text alone.
    pub fn is_literal(&self) -> bool {
        !self.0.iter().any(|(c, quoted)| !quoted && matches!(c, '*' | '?' | '['))
    }

    /// Its characters.
    pub fn text(&self) -> String {
        self.0.iter().map(|(c, _)| c).collect()
    }

    /// Whether a whole text matches. Linear in the text for each `*`.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t, mut star) = (0, 0, None);
        while t < text.len() {
            match self.0.get(p) {
                Some(('*', false)) => {
                    star = Some((p, t));
                    p += 1;
                    continue;
                }
                Some(_) => {
                    if let Some(next) = self.step(p, text[t]) {
                        p = next;
                        t += 1;
                        continue;
                    }
                }
                None => {}
            }
            let Some((at, from)) = star else { return false };
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        }
        self.0[p..].iter().all(|c| *c == ('*', false))
    }

    /// Where the pattern goes on if one character matches here.
    fn step(&self, at: usize, c: char) -> Option<usize> {
        match self.0[at] {
            ('?', false) => Some(at + 1),
            ('[', false) => {
                let close = self.0[at + 1..].iter().skip(1).position(|c| *c == (']', false)).map(|n| at + 2 + n);
                let Some(close) = close else { return (c == '[').then_some(at + 1) };
                let inside: Vec<char> = self.0[at + 1..close].iter().map(|(c, _)| *c).collect();
                let (negated, set) = match inside.split_first() {
                    Some(('!' | '^', rest)) => (true, rest),
                    _ => (false, &inside[..]),
                };
                let mut found = false;
                let mut i = 0;
                while i < set.len() {
                    if set.get(i + 1) == Some(&'-') && i + 2 < set.len() {
                        found |= set[i] <= c && c <= set[i + 2];
                        i += 3;
                    } else {
                        found |= set[i] == c;
                        i += 1;
                    }
                }
                (found != negated).then_some(close + 1)
            }
            (own, _) => (own == c).then_some(at + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[", "[", true),
            ("*.tar.*", "a.tar.gz", true),
            ("a", "ab", false),
            ("**a**b", "xaxb", true),
        ] {
            assert_eq!(Pattern::plain(pattern).matches(text), expected, "{pattern} {text}");
        }
        let quoted = Pattern(vec![('*', true)]);
        assert!(quoted.matches("*") && !quoted.matches("x") && quoted.is_literal());
    }
}
