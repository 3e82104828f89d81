//! What one kind decides for itself. A kind is a file with an `impl Kind`, and a row in the registry's table.

use jiff::Timestamp;
use k8s_openapi::{Metadata, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kubelab_api::{field::Errors, resource::Text};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{claims::Claims, table::Table};

/// A k8s-openapi type.
pub trait Object:
    Resource
    + Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + JsonSchema
    + Clone
    + Default
    + PartialEq
    + Send
    + Sync
    + 'static
{
}
impl<T> Object for T where
    T: Resource
        + Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + JsonSchema
        + Clone
        + Default
        + PartialEq
        + Send
        + Sync
        + 'static
{
}

/// How a kind's objects may be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    Subdomain,
    /// RFC 1123 label: Namespace, Service (since v1.36), ….
    Label,
    /// An IP address in its canonical form: IPAddress.
    Ip,
    /// Any path segment: RBAC's kinds.
    PathSegment,
}

/// A printed column, as `kubectl get` shows it.
#[derive(Clone, Debug)]
pub struct Column {
    /// The heading: `Ready`.
    pub name: Text,
    /// `string`, `integer`, `boolean`, `date`. Ages are strings.
    pub kind: Text,
    /// `name` for the object's name, `date-time`, …; empty for most.
    pub format: Text,
    /// What it shows.
    pub description: Text,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

/// A column that is always shown.
pub const fn column(name: &'static str, kind: &'static str) -> Column {
    Column {
        name: Text::Borrowed(name),
        kind: Text::Borrowed(kind),
        format: Text::Borrowed(""),
        description: Text::Borrowed(""),
        priority: 0,
    }
}

/// A column for `-o wide`.
pub const fn wide(name: &'static str, kind: &'static str) -> Column {
    Column {
        name: Text::Borrowed(name),
        kind: Text::Borrowed(kind),
        format: Text::Borrowed(""),
        description: Text::Borrowed(""),
        priority: 1,
    }
}

/// The scale subresource's view of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.replicas`.
    pub observed: i32,
    /// The label selector, as text.
    pub selector: String,
}

/// One kind's rules. Metadata (names, labels, owners, finalizers, generation, timestamps) is the registry's business and
/// checked there for all kinds; everything here is about the rest. All functions are pure.
pub trait Kind: Send + Sync + 'static {
    /// The type.
    type Object: Object;

    /// How its objects may be named.
    const NAME: NameRule = NameRule::Subdomain;

    /// Fills in what the user left out. Idempotent; runs on every decoded object.
    fn default(_object: &mut Self::Object) {}

    /// Makes a new object what it must be at first (no status, or an initial one; allocated fields).
    fn prepare_create(_object: &mut Self::Object) {}

    /// Carries over what an update of the object must not change: its status above all.
    fn prepare_update(_new: &mut Self::Object, _old: &Self::Object) {}

    /// Carries over what an update of the status must not change: its spec above all.
    fn prepare_status_update(_new: &mut Self::Object, _old: &Self::Object) {}

    /// Fills in what follows from an object of a new generation and from the kinds that are served.
    fn settle(_object: &mut Self::Object, _kinds: &Table) {}

    /// The spec differs, so `metadata.generation` grows. Kinds without a generation never say so.
    fn spec_changed(_new: &Self::Object, _old: &Self::Object) -> bool {
        false
    }

    /// New objects of this kind have `metadata.generation` 1.
    const GENERATION: bool = false;

    /// What is wrong with a new or updated object.
    fn validate(_object: &Self::Object, _errors: &mut Errors) {}

    /// What is wrong with a new object, beyond [`Kind::validate`].
    fn validate_create(_object: &Self::Object, _errors: &mut Errors) {}

    /// What is wrong with this change, beyond [`Kind::validate`].
    fn validate_update(_new: &Self::Object, _old: &Self::Object, _errors: &mut Errors) {}

    /// What is wrong with this change of status.
    fn validate_status_update(_new: &Self::Object, _old: &Self::Object, _errors: &mut Errors) {}

    /// What is wrong with this change of another part (`resize`, `ephemeralcontainers`, `finalize`, `approval`), beyond
    /// [`Kind::validate`].
    fn validate_part(_part: &str, _new: &Self::Object, _old: &Self::Object, _errors: &mut Errors) {}

    /// Warnings for the caller about a new object.
    fn warnings(_object: &Self::Object) -> Vec<String> {
        Vec::new()
    }

    /// Warnings for the caller about this change; the same as about a new object for most kinds.
    fn update_warnings(new: &Self::Object, _old: &Self::Object) -> Vec<String> {
        Self::warnings(new)
    }

    /// The printed columns; the first is `Name`.
    const COLUMNS: &'static [Column] = &[column("Name", "string"), column("Age", "string")];

    /// The cells of the columns, `-o wide` included. Ages are written as [`age`] does.
    fn cells(object: &Self::Object, now: Timestamp) -> Vec<Value> {
        let meta = object.metadata();
        vec![Value::from(meta.name.clone().unwrap_or_default()), Value::from(age(meta, now))]
    }

    /// Selectable fields besides `metadata.name` and `metadata.namespace`: every one that the kind has, empty ones too.
    fn fields(_object: &Self::Object) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// A second way to watch objects of this kind, served from the store's index: a pod's node. The name of the field
    /// selector that it answers is [`Kind::INDEX_FIELD`].
    fn index(_object: &Self::Object) -> Option<String> {
        None
    }

    /// The field selector that [`Kind::index`] answers: `spec.nodeName`.
    const INDEX_FIELD: &'static str = "";

    /// The scale subresource's view; `None` for kinds that do not scale.
    fn scale(_object: &Self::Object) -> Option<Scale> {
        None
    }

    /// Sets the wanted replicas.
    fn set_replicas(_object: &mut Self::Object, _replicas: i32) {}

    /// A `PUT` may create an object: Leases, Endpoints, Events, RBAC's kinds, ….
    /// Source: `AllowCreateOnUpdate` of the kinds' strategies.
    const CREATE_ON_UPDATE: bool = false;

    /// A `PUT` need not say which version it replaces. Source: `AllowUnconditionalUpdate` of the kinds' strategies.
    const UNCONDITIONAL_UPDATE: bool = true;

    /// A deletion is answered with the object that is gone instead of a Status.
    /// Source: `ReturnDeletedObject` of the kinds' stores.
    const RETURNS_DELETED: bool = false;

    /// A deletion that does not say what becomes of dependents leaves them as orphans: Jobs and
    /// ReplicationControllers, for clients older than garbage collection.
    const ORPHANS_DEPENDENTS: bool = false;

    /// How long a deleted object may take to end by itself, given what the caller asked for; `None` for kinds that
    /// are gone at once. A pod: see `CheckGracefulDelete` in `pkg/registry/core/pod/strategy.go`.
    fn grace_seconds(_object: &Self::Object, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Something beside `metadata.finalizers` keeps a deleted object: a namespace's `spec.finalizers`.
    fn finalizing(_object: &Self::Object) -> bool {
        false
    }

    /// What it means to be deleted and not yet gone, beside `metadata.deletionTimestamp`: a namespace's phase.
    fn prepare_delete(_object: &mut Self::Object) {}

    /// Carries over what an update of this other part (`resize`, `ephemeralcontainers`, `finalize`, `approval`) must not
    /// change: nearly everything.
    fn prepare_part(_part: &str, _new: &mut Self::Object, _old: &Self::Object) {}

    /// Claims what the new object needs and there is one of each of in the cluster, and gives back what the old one held:
    /// a Service's addresses and ports. `new` is `None` when the object goes, `old` when it comes.
    fn claim(_new: Option<&mut Self::Object>, _old: Option<&Self::Object>, _claims: &mut Claims, _errors: &mut Errors) {
    }

    /// How long an object lives by itself, in seconds: Events.
    fn ttl_seconds(_object: &Self::Object) -> Option<u32> {
        None
    }

    /// What a write did, in a few words, for `kubelab why`: "bound to node-2", "scaled 0 → 3". Empty when there is
    /// nothing to say. `old` is `None` for a creation.
    fn note(_new: &Self::Object, _old: Option<&Self::Object>) -> String {
        String::new()
    }
}

/// How long ago the object was made, as kubectl writes it: `5s`, `3m12s`, `2d`, `<unknown>`.
pub fn age(meta: &ObjectMeta, now: Timestamp) -> String {
    meta.creation_timestamp
        .as_ref()
        .map_or_else(|| "<unknown>".into(), |time| human_duration(now.duration_since(time.0)))
}

/// A span of time in the shortest form that people read. Source: `k8s.io/apimachinery/pkg/util/duration`.
pub fn human_duration(span: jiff::SignedDuration) -> String {
    let seconds = span.as_secs();
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let pair = |high: i64, unit: &str, low: i64, low_unit: &str| match low {
        0 => format!("{high}{unit}"),
        low => format!("{high}{unit}{low}{low_unit}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => pair(hours / 24, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        () if hours < 24 * 365 * 8 => pair(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        () => format!("{}y", hours / 24 / 365),
    }
}
