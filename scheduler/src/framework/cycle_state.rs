//! What plugins hand on from one extension point to the next within one cycle.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
};

/// One value of each type: a plugin stores a type of its own.
#[derive(Default)]
pub struct CycleState(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl CycleState {
    /// Keeps a value for this cycle.
    pub fn put<T: Any + Send + Sync>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Box::new(value));
    }

    /// The value of this type, if it was put.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}
