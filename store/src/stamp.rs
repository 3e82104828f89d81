//! The revision's digits inside a value.

use bytes::Bytes;

use crate::Revision;

/// The value with the digits of `revision` at `at`, and how many there are. A place beyond the end means the end.
pub(crate) fn insert(value: &[u8], at: u32, revision: Revision) -> (Bytes, (u32, u8)) {
    let at = (at as usize).min(value.len());
    replace(value, (at as u32, 0), revision)
}

/// The stamped value with its digits changed to `revision`.
pub(crate) fn replace(value: &[u8], (at, length): (u32, u8), revision: Revision) -> (Bytes, (u32, u8)) {
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    let mut rest = revision;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let digits = &digits[first..];
    let (head, tail) = (&value[..at as usize], &value[at as usize + length as usize..]);
    let mut stamped = Vec::with_capacity(head.len() + digits.len() + tail.len());
    stamped.extend_from_slice(head);
    stamped.extend_from_slice(digits);
    stamped.extend_from_slice(tail);
    (stamped.into(), (at, digits.len() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_inserted_and_replaced() {
        let (value, stamp) = insert(br#"{"rv":""}"#, 7, 99);
        assert_eq!((&value[..], stamp), (&br#"{"rv":"99"}"#[..], (7, 2)));
        let (value, stamp) = replace(&value, stamp, 100);
        assert_eq!((&value[..], stamp), (&br#"{"rv":"100"}"#[..], (7, 3)));
        assert_eq!(insert(b"", 3, 0).0, &b"0"[..]);
        assert_eq!(insert(b"", 0, u64::MAX).0, u64::MAX.to_string().as_bytes());
    }
}
