//! One value of JSON as a field of a message.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    super::{
        Many,
        plan::{self, Slot, Type},
    },
    Message, Sink, bytes, find, text,
};

/// Writes a value with its tag.
pub(super) struct Value<'s> {
    number: u32,
    kind: Type,
    many: Many,
    sink: &'s mut Sink,
}

impl<'s> Value<'s> {
    /// That of a field.
    pub(super) fn of(slot: &Slot, sink: &'s mut Sink) -> Self {
        Self { number: slot.number, kind: slot.kind, many: slot.many, sink }
    }

    fn varint(self, value: u64) {
        encode_key(self.number, WireType::Varint, &mut self.sink.out);
        encode_varint(value, &mut self.sink.out);
    }

    fn double(self, value: f64) {
        encode_key(self.number, WireType::SixtyFourBit, &mut self.sink.out);
        self.sink.out.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// A message that is made of known fields.
    fn nested(self, fill: impl FnOnce(&mut Vec<u8>)) {
        let place = self.sink.open(self.number);
        fill(&mut self.sink.out);
        self.sink.close(place);
    }

    fn time<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        let time: Timestamp = value.parse().map_err(E::custom)?;
        let nanos = match self.kind {
            Type::MicroTime => time.subsec_nanosecond() / 1000 * 1000,
            _ => 0,
        };
        self.nested(|out| {
            out.push(0x08);
            encode_varint(time.as_second().cast_unsigned(), out);
            out.push(0x10);
            encode_varint(i64::from(nanos).cast_unsigned(), out);
        });
        Ok(())
    }

    fn union<E: serde::de::Error>(self, raw: &str) -> Result<(), E> {
        let schema = find("apiextensions.k8s.io/v1", "JSONSchemaProps").map_err(E::custom)?;
        let place = self.sink.open(self.number);
        let one = |number, json: &str, sink: &mut Sink| {
            let place = sink.open(number);
            sink.message(schema, json.as_bytes()).map_err(E::custom)?;
            sink.close(place);
            Ok(())
        };
        match (self.kind, raw.as_bytes().first()) {
            (Type::SchemaOrBool, Some(b'f')) => self.sink.out.extend_from_slice(b"\x08\0"),
            (Type::SchemaOrBool, first) => {
                self.sink.out.extend_from_slice(b"\x08\x01");
                if first == Some(&b'{') {
                    one(2, raw, self.sink)?;
                }
            }
            (_, Some(b'[')) => {
                for element in serde_json::from_str::<Vec<&RawValue>>(raw).map_err(E::custom)? {
                    if element.get().starts_with('"') {
                        let word: String = serde_json::from_str(element.get()).map_err(E::custom)?;
                        text(2, &word, &mut self.sink.out);
                    } else {
                        one(2, element.get(), self.sink)?;
                    }
                }
            }
            _ => one(1, raw, self.sink)?,
        }
        self.sink.close(place);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.many != Many::One || !matches!(self.kind, Type::Raw | Type::SchemaOrList | Type::SchemaOrBool) {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
        match self.kind {
            _ if raw == "null" => {}
            Type::SchemaOrList | Type::SchemaOrBool => self.union(raw)?,
            _ => self.nested(|out| text(1, raw, out)),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for field {} of type {:?}", self.number, self.kind)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Type::Bool => self.varint(value.into()),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        match self.kind {
            Type::Int => self.varint(value.cast_unsigned()),
            Type::Double => self.double(value as f64),
            Type::Quantity => self.nested(|out| text(1, &value.to_string(), out)),
            Type::IntOrString => self.nested(|out| {
                out.extend_from_slice(b"\x08\0\x10");
                encode_varint(value.cast_unsigned(), out);
                out.extend_from_slice(b"\x1a\0");
            }),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self)),
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.visit_i64(value.cast_signed())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Type::Double => self.double(value),
            Type::Quantity => self.nested(|out| text(1, &value.to_string(), out)),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        match self.kind {
            Type::Text => text(self.number, value, &mut self.sink.out),
            Type::Bytes => bytes(self.number, &STANDARD.decode(value).map_err(E::custom)?, &mut self.sink.out),
            Type::Time | Type::MicroTime => self.time(value)?,
            Type::Quantity => self.nested(|out| text(1, value, out)),
            Type::IntOrString => self.nested(|out| {
                out.extend_from_slice(b"\x08\x01\x10\0");
                text(3, value, out);
            }),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Str(value), &self)),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { number, kind, many, sink } = self;
        if many == Many::List {
            while list.next_element_seed(Value { number, kind, many: Many::One, sink: &mut *sink })?.is_some() {}
            return Ok(());
        }
        let Type::Message(place) = kind else { return Err(A::Error::custom("a list for a single value")) };
        let Some(kind) = plan::at(place).list else { return Err(A::Error::custom("a list for a message")) };
        let place = sink.open(number);
        while list.next_element_seed(Value { number: 1, kind, many: Many::One, sink: &mut *sink })?.is_some() {}
        sink.close(place);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { number, kind, many, sink } = self;
        if many != Many::Map {
            let Type::Message(at) = kind else { return Err(A::Error::custom("an object for a single value")) };
            let place = sink.open(number);
            Message { plan: plan::at(at), sink: &mut *sink }.visit_map(map)?;
            sink.close(place);
            return Ok(());
        }
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            let place = sink.open(number);
            text(1, &key, &mut sink.out);
            map.next_value_seed(Value { number: 2, kind, many: Many::One, sink: &mut *sink })?;
            sink.close(place);
        }
        Ok(())
    }
}
