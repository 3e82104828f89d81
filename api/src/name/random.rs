//! Names that nobody chose.

use super::LABEL_MAX;

/// Letters and digits that seldom make words. Source: `k8s.io/apimachinery/pkg/util/rand`.
pub(crate) const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// `length` letters and digits out of one random number: 13 at most say something.
pub fn suffix(mut random: u64, length: usize) -> String {
    let radix = ALPHABET.len() as u64;
    (0..length)
        .map(|_| {
            let letter = ALPHABET[(random % radix) as usize];
            random /= radix;
            char::from(letter)
        })
        .collect()
}

/// A name for `metadata.generateName`: the prefix, cut to fit, and five random letters.
/// Source: `SimpleNameGenerator` in `k8s.io/apiserver/pkg/storage/names`.
pub fn generate(prefix: &str, random: u64) -> String {
    const RANDOM: usize = 5;
    let mut end = prefix.len().min(LABEL_MAX - RANDOM);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &prefix[..end], suffix(random, RANDOM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_fit_and_differ() {
        assert_eq!(generate("web-", 0), "web-bbbbb");
        assert_eq!(generate("web-", 27 * 27 + 1), "web-cbcbb");
        let name = generate(&"é".repeat(40), u64::MAX);
        assert!(name.len() <= LABEL_MAX, "{name}");
        assert_eq!(suffix(u64::MAX, 10).len(), 10);
    }
}
