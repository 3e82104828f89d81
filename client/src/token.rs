//! A bearer token that changes from time to time.

use std::sync::{Arc, PoisonError, RwLock};

use tonic::metadata::{Ascii, MetadataValue, errors::InvalidMetadataValue};

/// A token, as requests show it. Clones share it.
#[derive(Clone)]
pub struct Token(Arc<RwLock<MetadataValue<Ascii>>>);

impl Token {
    /// This one for now.
    pub fn new(text: &str) -> Result<Self, InvalidMetadataValue> {
        Ok(Self(Arc::new(RwLock::new(header(text)?))))
    }

    /// This one from now on.
    pub fn set(&self, text: &str) -> Result<(), InvalidMetadataValue> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = header(text)?;
        Ok(())
    }

    pub(crate) fn header(&self) -> MetadataValue<Ascii> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn header(text: &str) -> Result<MetadataValue<Ascii>, InvalidMetadataValue> {
    let mut value = MetadataValue::try_from(format!("Bearer {text}"))?;
    value.set_sensitive(true);
    Ok(value)
}
