//! Finished objects as protobuf, byte for byte as Go's encoder writes them: fields in order, zero values too. One pass
//! over the JSON; each message is put in order once its members are known.
//! Source: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf` and the generated encoders of `k8s.io/api`.

mod value;

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use kubelab_api::Error;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use serde::{
    Deserializer as _,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Deserializer;

use super::{
    MAGIC, message_of,
    plan::{self, Node, Plan},
};
use value::Value;

/// The kind can be written as protobuf.
pub fn knows(api_version: &str, kind: &str) -> bool {
    plan::named(&message_of(api_version, kind)).is_some()
}

/// A finished object of any kind, which is told from its own `apiVersion` and `kind`.
pub fn any(json: &[u8]) -> Result<Bytes, Error> {
    let (api_version, kind) = type_meta(json);
    object(&api_version, &kind, json)
}

/// A finished object, read as this kind.
pub fn object(api_version: &str, kind: &str, json: &[u8]) -> Result<Bytes, Error> {
    let plan = find(api_version, kind)?;
    let mut sink = Sink::default();
    sink.message(plan, json)?;
    Ok(envelope(api_version, kind, &sink.out))
}

/// A list of this kind, whose items are read as `item`.
pub fn list<'a>(
    api_version: &str,
    kind: &str,
    item: &str,
    metadata: &[u8],
    items: impl Iterator<Item = &'a [u8]>,
) -> Result<Bytes, Error> {
    let plan = find(api_version, item)?;
    let list_meta = find("v1", "ListMeta")?;
    let mut sink = Sink::default();
    let place = sink.open(1);
    sink.message(list_meta, metadata)?;
    sink.close(place);
    for json in items {
        let place = sink.open(2);
        sink.message(plan, json)?;
        sink.close(place);
    }
    Ok(envelope(api_version, kind, &sink.out))
}

/// One event of a watch around a finished object, as a frame of a stream: its length stands before it.
pub fn event(event_type: &str, object: &[u8], out: &mut Vec<u8>) {
    let raw = 1 + encoded_len_varint(object.len() as u64) + object.len();
    let length = 2 + event_type.len() + 1 + encoded_len_varint(raw as u64) + raw;
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    text(1, event_type, out);
    encode_key(2, WireType::LengthDelimited, out);
    encode_varint(raw as u64, out);
    bytes(1, object, out);
}

fn find(api_version: &str, kind: &str) -> Result<&'static Plan, Error> {
    plan::named(&message_of(api_version, kind))
        .ok_or_else(|| Error::internal(format!("{kind} of {api_version} has no protobuf form")))
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(raw.len() + api_version.len() + kind.len() + 32);
    out.extend_from_slice(MAGIC);
    let mut type_meta = Vec::new();
    text(1, api_version, &mut type_meta);
    text(2, kind, &mut type_meta);
    bytes(1, &type_meta, &mut out);
    bytes(2, raw, &mut out);
    out.extend_from_slice(b"\x1a\0\"\0");
    out.into()
}

fn bytes(number: u32, value: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn text(number: u32, value: &str, out: &mut Vec<u8>) {
    bytes(number, value.as_bytes(), out);
}

/// What has been written, and room to put it in order.
#[derive(Default)]
struct Sink {
    out: Vec<u8>,
    spare: Vec<u8>,
}

impl Sink {
    fn message(&mut self, plan: &'static Plan, json: &[u8]) -> Result<(), Error> {
        Message { plan, sink: self }
            .deserialize(&mut Deserializer::from_slice(json))
            .map_err(|error| Error::internal(format!("an object cannot be written as protobuf: {error}")))
    }

    fn open(&mut self, number: u32) -> usize {
        open(&mut self.out, number)
    }

    fn close(&mut self, place: usize) {
        close(&mut self.out, place);
    }

    /// Puts what was written since `begin` in the order of the message's fields.
    fn arrange(&mut self, begin: usize, plan: &Plan, written: &[(usize, usize)]) {
        self.spare.clear();
        arrange(&plan.order, plan, written, &self.out, &mut self.spare);
        self.out.truncate(begin);
        self.out.extend_from_slice(&self.spare);
    }
}

/// Begins a field with a length, for which one byte is left.
fn open(out: &mut Vec<u8>, number: u32) -> usize {
    encode_key(number, WireType::LengthDelimited, out);
    out.push(0);
    out.len()
}

/// Ends it, once the length is known.
fn close(out: &mut Vec<u8>, place: usize) {
    let length = (out.len() - place) as u64;
    let more = encoded_len_varint(length) - 1;
    if more > 0 {
        let end = out.len();
        out.resize(end + more, 0);
        out.copy_within(place..end, place + more);
    }
    encode_varint(length, &mut &mut out[place - 1..place + more]);
}

fn arrange(order: &[Node], plan: &Plan, written: &[(usize, usize)], from: &[u8], to: &mut Vec<u8>) {
    for node in order {
        match node {
            Node::Slot(at) => match written[*at] {
                (start, end) if start < end => to.extend_from_slice(&from[start..end]),
                _ => to.extend_from_slice(&plan.slots[*at].absent),
            },
            Node::Embedded(number, inner) => {
                let place = open(to, *number);
                arrange(inner, plan, written, from, to);
                close(to, place);
            }
        }
    }
}

/// Writes an object's members as a message's fields.
struct Message<'s> {
    plan: &'static Plan,
    sink: &'s mut Sink,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let begin = self.sink.out.len();
        let mut written = vec![(0, 0); self.plan.slots.len()];
        while let Some(member) = map.next_key_seed(Member(self.plan))? {
            match member {
                Some(at) => {
                    let start = self.sink.out.len();
                    map.next_value_seed(Value::of(&self.plan.slots[at], self.sink))?;
                    written[at] = (start, self.sink.out.len());
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.sink.arrange(begin, self.plan, &written);
        Ok(())
    }
}

/// Finds the field of a member by its name.
struct Member(&'static Plan);

impl<'de> DeserializeSeed<'de> for Member {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Member {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.members.get(name).copied())
    }
}

/// `apiVersion` and `kind`, which stand at the beginning of most objects.
fn type_meta(json: &[u8]) -> (String, String) {
    struct Found<'f>(&'f mut (String, String));

    impl<'de> Visitor<'de> for Found<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                match &*key {
                    "apiVersion" => self.0.0 = map.next_value()?,
                    "kind" => self.0.1 = map.next_value()?,
                    _ => drop(map.next_value::<IgnoredAny>()?),
                }
                if !self.0.0.is_empty() && !self.0.1.is_empty() {
                    break;
                }
            }
            Ok(())
        }
    }

    let mut found = Default::default();
    // Leaving off early is an error for the parser, and none for us.
    let _ = Deserializer::from_slice(json).deserialize_map(Found(&mut found));
    found
}

#[cfg(test)]
mod tests;
