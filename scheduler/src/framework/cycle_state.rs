//! What plugins hand on from one extension point to the next within one cycle.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

/// One value of each type: a plugin stores a type of its own. A clone is cheap; it shares what it does not change.
#[derive(Clone, Default)]
pub struct CycleState(HashMap<TypeId, Arc<dyn Any + Send + Sync>, BuildHasherDefault<Unhashed>>);

/// A type's id is a hash already, and filters look one up for each node.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl CycleState {
    /// Keeps a value for this cycle.
    pub fn put<T: Any + Send + Sync>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of this type, if it was put.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        (**self.0.get(&TypeId::of::<T>())?).downcast_ref()
    }

    /// The same, to change it here and in no clone.
    pub fn get_mut<T: Any + Clone + Send + Sync>(&mut self) -> Option<&mut T> {
        let value = self.0.get_mut(&TypeId::of::<T>())?;
        if Arc::get_mut(value).is_none() {
            *value = Arc::new((**value).downcast_ref::<T>()?.clone());
        }
        Arc::get_mut(value)?.downcast_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_changes_alone() {
        let mut state = CycleState::default();
        state.put(1_i32);
        let mut other = state.clone();
        *other.get_mut::<i32>().unwrap() += 1;
        *state.get_mut::<i32>().unwrap() += 10;
        assert_eq!((state.get(), other.get::<i32>()), (Some(&11), Some(&2)));
        assert_eq!(state.get_mut::<u8>(), None);
    }
}
