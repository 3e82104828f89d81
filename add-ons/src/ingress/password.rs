//! Passwords as `htpasswd` and `openssl passwd` keep them, as far as nginx reads them: `$apr1$` (their usual form), `$1$`,
//! `{SHA}`, `{SSHA}` and `{PLAIN}`. Source: Apache's `apr_md5_encode` and RFC 2307.

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use ring::digest;

/// Rounds of `$apr1$` and `$1$`.
const ROUNDS: usize = 1000;
/// The longest salt of these.
const MAX_SALT: usize = 8;
/// How many bytes a SHA-1 has; the salt stands after them.
const SHA1_BYTES: usize = 20;

/// Whether a password is the one that is kept; none, if that is kept in another form.
pub fn is(given: &str, kept: &str) -> Option<bool> {
    let sha1 = |salt: &[u8]| {
        let salted = [given.as_bytes(), salt].concat();
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &salted).as_ref().to_vec()
    };
    if let Some(plain) = kept.strip_prefix("{PLAIN}") {
        return Some(given == plain);
    }
    if let Some(encoded) = kept.strip_prefix("{SHA}").or_else(|| kept.strip_prefix("{SSHA}")) {
        let bytes = STANDARD.decode(encoded).ok()?;
        let (hash, salt) = bytes.split_at_checked(SHA1_BYTES)?;
        return Some(sha1(salt) == hash);
    }
    let magic = ["$apr1$", "$1$"].into_iter().find(|magic| kept.starts_with(magic))?;
    let (salt, hash) = kept[magic.len()..].split_once('$')?;
    let salt = &salt.as_bytes()[..salt.len().min(MAX_SALT)];
    Some(md5_crypt(given.as_bytes(), salt, magic.as_bytes()) == hash)
}

fn md5_crypt(given: &[u8], salt: &[u8], magic: &[u8]) -> String {
    let hash = |parts: &[&[u8]]| -> [u8; 16] {
        let mut md5 = Md5::new();
        parts.iter().for_each(|part| md5.update(part));
        md5.finalize().into()
    };
    let alternate = hash(&[given, salt, given]);
    let mut first: Vec<&[u8]> = vec![given, magic, salt];
    for at in (0..given.len()).step_by(16) {
        first.push(&alternate[..(given.len() - at).min(16)]);
    }
    // Each bit of the length, the lowest first: a zero byte, or the password's first.
    let mut bits = given.len();
    while bits > 0 {
        first.push(if bits & 1 == 1 { &[0u8][..] } else { &given[..1] });
        bits >>= 1;
    }
    let mut last = hash(&first);
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let mut parts: Vec<&[u8]> = vec![if odd { given } else { &last }];
        if round % 3 != 0 {
            parts.push(salt);
        }
        if round % 7 != 0 {
            parts.push(given);
        }
        parts.push(if odd { &last } else { given });
        last = hash(&parts);
    }
    encode(&last)
}

/// The bytes in an order and an alphabet of their own.
fn encode(hash: &[u8; 16]) -> String {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let byte = |at: usize| u32::from(hash[at]);
    let three = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let words = three.map(|[a, b, c]| (byte(a) << 16 | byte(b) << 8 | byte(c), 4));
    let letters = words
        .into_iter()
        .chain([(byte(11), 2)])
        .flat_map(|(word, count)| (0..count).map(move |i| char::from(ALPHABET[(word >> (6 * i)) as usize & 63])));
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_kept_in_several_forms() {
        // Made by `openssl passwd -apr1 -salt`, `openssl passwd -1 -salt`, and from `openssl dgst -sha1 -binary | base64`.
        for (given, kept, expected) in [
            ("password", "$apr1$xxxxxxxx$dxHfLAsjHkDRmG83UXe8K0", Some(true)),
            ("passwort", "$apr1$xxxxxxxx$dxHfLAsjHkDRmG83UXe8K0", Some(false)),
            ("password", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", Some(true)),
            (
                "a much longer password, of more than sixteen letters",
                "$apr1$8sFt66rZ$JPJ/yzmwzq3IaJl7l5RI61",
                Some(true),
            ),
            ("password", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Some(true)),
            ("passwort", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Some(false)),
            ("password", "{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0", Some(true)),
            ("bar", "{PLAIN}bar", Some(true)),
            ("bar", "{PLAIN}baz", Some(false)),
            ("bar", "$2y$05$abcdefghijklmnopqrstuu", None),
            ("bar", "bar", None),
            ("bar", "{SHA}x", None),
        ] {
            assert_eq!(is(given, kept), expected, "{given} {kept}");
        }
    }
}
