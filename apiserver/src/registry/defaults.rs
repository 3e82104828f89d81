//! Filling in what a user left out.

/// A text: an empty one counts as left out, as it does in Go.
pub fn text(field: &mut Option<String>, value: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(value.to_owned());
    }
}

/// A number of those where zero counts as left out.
pub fn nonzero(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or_default() == 0 {
        *field = Some(value);
    }
}

/// A value of those that upstream keeps behind a pointer: only a missing one is filled in.
pub fn missing<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

/// The elements of an optional list, to change.
pub fn each<T>(list: &mut Option<Vec<T>>) -> std::slice::IterMut<'_, T> {
    list.as_deref_mut().unwrap_or_default().iter_mut()
}
