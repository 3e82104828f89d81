//! The usual division of an object: a spec that users write, a status that controllers write, and a generation that
//! counts the changes of the spec.

/// The functions of [`Kind`](super::kind::Kind) that keep spec and status apart. `generation` counts specs too.
macro_rules! spec_and_status {
    (generation) => {
        $crate::registry::status::spec_and_status!();

        const GENERATION: bool = true;

        fn spec_changed(new: &Self::Object, old: &Self::Object) -> bool {
            new.spec != old.spec
        }
    };
    () => {
        fn prepare_create(object: &mut Self::Object) {
            object.status = Some(Default::default());
        }

        fn prepare_update(new: &mut Self::Object, old: &Self::Object) {
            new.status.clone_from(&old.status);
        }

        fn prepare_status_update(new: &mut Self::Object, old: &Self::Object) {
            new.spec.clone_from(&old.spec);
        }
    };
}
pub(crate) use spec_and_status;
