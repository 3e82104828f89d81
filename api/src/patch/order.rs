//! Where the elements of a merged list go. Source: the design proposal
//! `cli/preserve-order-in-strategic-merge-patch.md`.

use std::collections::HashMap;

use serde_json::Value;

/// What tells elements apart: the value of the merge key, or the element itself in a list of scalars.
pub(super) fn identity<'a>(element: &'a Value, merge_key: &str) -> &'a Value {
    if merge_key.is_empty() { element } else { element.get(merge_key).unwrap_or(&Value::Null) }
}

/// The identities of a list's elements.
pub(super) fn identities(list: &[Value], merge_key: &str) -> Vec<Value> {
    list.iter().map(|element| identity(element, merge_key).clone()).collect()
}

/// Where each identity stands first.
fn places(order: &[Value]) -> HashMap<&Value, usize> {
    let mut places = HashMap::with_capacity(order.len());
    for (at, identity) in order.iter().enumerate() {
        places.entry(identity).or_insert(at);
    }
    places
}

/// Orders a merged list: elements that the patch names stand as the patch has them, the others as they stood; where the
/// two meet, an element of the server's comes before the first of the patch's that it stood before.
pub(super) fn arrange(merged: Vec<Value>, patch: &[Value], server: &[Value], merge_key: &str) -> Vec<Value> {
    let (patch, server) = (places(patch), places(server));
    let place = |order: &HashMap<&Value, usize>, element: &Value| order.get(identity(element, merge_key)).copied();
    let (mut named, mut others): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|element| place(&patch, element).is_some());
    named.sort_by_key(|element| place(&patch, element));
    others.sort_by_key(|element| place(&server, element));

    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for element in named {
        let here = place(&server, &element);
        let stood_before = |other: &Value| here.zip(place(&server, other)).is_some_and(|(here, other)| other < here);
        while let Some(other) = others.next_if(stood_before) {
            arranged.push(other);
        }
        arranged.push(element);
    }
    arranged.extend(others);
    arranged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(text: &str) -> Vec<Value> {
        text.chars().map(|letter| Value::from(letter.to_string())).collect()
    }

    #[test]
    fn the_patch_decides_and_the_rest_keeps_its_place() {
        for (merged, patch, server, arranged) in [
            ("abc", "cba", "abc", "cba"),
            ("abcd", "db", "abcd", "acdb"),
            ("abx", "x", "ab", "xab"),
            ("abx", "ax", "ab", "axb"),
            ("abc", "", "abc", "abc"),
            ("abxc", "bx", "abc", "abxc"),
        ] {
            assert_eq!(
                arrange(letters(merged), &letters(patch), &letters(server), ""),
                letters(arranged),
                "{merged} by {patch}, was {server}"
            );
        }
    }
}
