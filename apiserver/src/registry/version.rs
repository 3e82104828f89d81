//! A kind in another version than the one in which it is stored and its rules are written.

use std::marker::PhantomData;

use bytes::Bytes;
use k8s_openapi::schemars::{Schema, SchemaGenerator};
use kubelab_api::{Error, Resource, field::Errors};

use super::{
    decode::{self, Validation},
    handler::{read, typed},
    kind::Object,
    object::AnyObject,
};

/// Between two versions of a kind. Nothing may be lost on the way there and back.
pub trait Conversion: Send + Sync + 'static {
    /// The version in which the kind is stored and its rules are written.
    type Stored: Object;
    /// The version that clients see.
    type Served: Object;
    /// What is stored for what a client sent.
    fn to_stored(served: Self::Served) -> Self::Stored;
    /// What a client sees of what is stored.
    fn to_served(stored: Self::Stored) -> Self::Served;
    /// What is wrong with a new object that was sent in this version, beyond what the kind says.
    fn validate_create(_object: &Self::Stored, _errors: &mut Errors) {}
    /// What is wrong with a change that was sent in this version, beyond what the kind says.
    fn validate_update(_new: &Self::Stored, _old: &Self::Stored, _errors: &mut Errors) {}
}

/// A [`Conversion`] without its types.
#[allow(missing_docs)]
pub(super) trait Version: Send + Sync {
    fn decode(
        &self,
        resource: &Resource,
        json: &[u8],
        validation: Validation,
    ) -> Result<(Box<dyn AnyObject>, Vec<String>), Error>;
    fn present(&self, stored: &[u8]) -> Result<Bytes, Error>;
    fn validate_create(&self, object: &dyn AnyObject, errors: &mut Errors);
    fn validate_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors);
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;
}

/// A kind in another version than the stored one.
pub(super) struct Converted<C>(PhantomData<fn() -> C>);

impl<C> Converted<C> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: Conversion> Version for Converted<C> {
    fn decode(
        &self,
        resource: &Resource,
        json: &[u8],
        validation: Validation,
    ) -> Result<(Box<dyn AnyObject>, Vec<String>), Error> {
        let (served, warnings) = decode::decode::<C::Served>(resource, json, validation)?;
        Ok((Box::new(C::to_stored(served)), warnings))
    }
    fn present(&self, stored: &[u8]) -> Result<Bytes, Error> {
        Ok(C::to_served(read(stored)?).encode()?.into())
    }
    fn validate_create(&self, object: &dyn AnyObject, errors: &mut Errors) {
        C::validate_create(typed(object), errors);
    }
    fn validate_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors) {
        C::validate_update(typed(new), typed(old), errors);
    }
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<C::Served>()
    }
}
