//! The hashes in generated names: `web-7d4b9c6f5-x2x1z`. Source: `ComputeHash` in `pkg/controller`, `HashControllerRevision`
//! in `pkg/controller/history`, `SafeEncodeString` in `k8s.io/apimachinery/pkg/util/rand`.

use serde::Serialize;

use crate::name::ALPHABET;

const OFFSET_BASIS: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// FNV-1a, 32 bits.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME))
}

/// FNV-1, 32 bits.
pub fn fnv1(bytes: &[u8]) -> u32 {
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| hash.wrapping_mul(PRIME) ^ u32::from(*byte))
}

/// The text in letters that seldom make words.
pub fn safe_encode(text: &str) -> String {
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

/// The `pod-template-hash` of a template, or the hash of any part of an object. It hashes the JSON form: unlike upstream,
/// whose hash depends on how Go prints structs, it stays the same when fields are added that nobody sets.
pub fn object(object: &impl Serialize, collision_count: Option<i32>) -> serde_json::Result<String> {
    let mut bytes = serde_json::to_vec(object)?;
    if let Some(count) = collision_count {
        bytes.extend(u64::from(count.cast_unsigned()).to_le_bytes());
    }
    Ok(safe_encode(&fnv1a(&bytes).to_string()))
}

/// The hash in a ControllerRevision's name.
pub fn revision(data: &[u8], collision_count: Option<i32>) -> String {
    let mut bytes = data.to_vec();
    if let Some(count) = collision_count {
        bytes.extend(count.to_string().bytes());
    }
    safe_encode(&fnv1(&bytes).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn hashes_agree_with_the_published_test_vectors() {
        // http://www.isthe.com/chongo/tech/comp/fnv/
        for (text, one, one_a) in
            [("", 0x811c_9dc5, 0x811c_9dc5), ("a", 0x050c_5d7e, 0xe40c_292c), ("foobar", 0x31f0_b262, 0xbf9c_f968)]
        {
            assert_eq!((fnv1(text.as_bytes()), fnv1a(text.as_bytes())), (one, one_a), "{text:?}");
        }
    }

    #[test]
    fn encoding_is_upstreams() {
        assert_eq!(safe_encode("0123456789"), "456789bcdf");
    }

    #[test]
    fn a_collision_changes_the_hash() {
        let template = json!({"spec": {"containers": []}});
        let hashes = [None, Some(0), Some(1)].map(|count| object(&template, count).unwrap());
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2], "{hashes:?}");
        assert_ne!(revision(b"x", None), revision(b"x", Some(0)));
    }
}
