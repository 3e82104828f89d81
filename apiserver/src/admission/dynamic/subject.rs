//! What is admitted: the object in each of its versions, and what a request looks like to a policy. Source of the fields:
//! `CreateAdmissionRequest` in `k8s.io/apiserver/pkg/admission/plugin/cel/condition.go`, and the create, update and delete
//! handlers for what they put into admission's attributes.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use kubelab_api::{Error, patch, selector::label::Selector};
use serde_json::{Map, Value, json};

use super::matching::{Facts, Labels, Target};
use crate::{
    admission::Operation,
    cel,
    corridor::{Body, Verb},
    discovery::subresource,
    registry::{decode::Validation, handler::Handler, object::AnyObject, plan::Context},
};

/// The new object.
pub enum Form<'a> {
    /// There is none: a deletion.
    None,
    /// An object of the resource's kind, which may change.
    Stored(&'a mut Box<dyn AnyObject>),
    /// The same, as it will be.
    Shown(&'a dyn AnyObject),
    /// An object of another kind: a Scale, an Eviction.
    Part(&'a mut Value),
}

/// The object before.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub enum Old<'a> {
    Stored(&'a dyn AnyObject),
    Part(&'a Value),
}

/// A resource and the kind of its objects, in one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Version {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: (String, String, String),
}

/// A request as policies see it.
pub struct Subject<'a> {
    /// The plan's.
    pub context: &'a Context<'a>,
    /// What is being done.
    pub operation: Operation,
    form: Form<'a>,
    old: Option<Old<'a>>,
    name: String,
    namespace: String,
    /// The new and the old object as values, by version, while they do not change.
    values: RefCell<BTreeMap<(Version, bool), cel::Value>>,
}

impl<'a> Subject<'a> {
    /// A request on its way.
    pub fn new(context: &'a Context<'a>, operation: Operation, form: Form<'a>, old: Option<Old<'a>>) -> Self {
        let request = context.request;
        let of_object = match &form {
            Form::Stored(object) => object.name().to_owned(),
            Form::Shown(object) => object.name().to_owned(),
            Form::Part(_) | Form::None => String::new(),
        };
        let of_old = match old {
            Some(Old::Stored(object)) => object.name().to_owned(),
            _ => String::new(),
        };
        let named = [request.name.clone(), of_object, of_old].into_iter().find(|name| !name.is_empty());
        let name = named.unwrap_or_default();
        let is_namespace = request.resource.group.is_empty() && request.resource.plural == "namespaces";
        let namespace = if is_namespace { name.clone() } else { request.namespace.clone() };
        Self { context, operation, form, old, name, namespace, values: RefCell::default() }
    }

    /// The request's resource, as rules see it.
    pub fn facts(&self) -> Facts<'_> {
        let resource = &self.context.request.resource;
        let target = Target {
            group: &resource.group,
            version: &resource.version,
            plural: &resource.plural,
            subresource: &self.context.request.subresource,
        };
        Facts { operation: self.operation, target, namespace: &self.namespace, name: &self.name }
    }

    /// The same resource in its other versions.
    pub fn others(&self) -> Vec<Target<'_>> {
        let handler = self.context.handler;
        let request = &self.context.request;
        let same = |other: &&Arc<Handler>| {
            other.topic == handler.topic
                && *other.resource != *handler.resource
                && (request.subresource.is_empty() || other.resource.has(&request.subresource))
        };
        let target = |other: &'a Arc<Handler>| Target {
            group: &other.resource.group,
            version: &other.resource.version,
            plural: &other.resource.plural,
            subresource: "",
        };
        let table = self.context.table;
        let targets = table.iter().filter(same).map(target);
        targets.map(|target| Target { subresource: &request.subresource, ..target }).collect()
    }

    /// The kind of objects in the version of a target.
    pub fn version(&self, target: &Target<'_>) -> Version {
        let resource = self.handler(target).map_or(&self.context.request.resource, |handler| &handler.resource);
        let part = subresource::find(resource, target.subresource).filter(|part| !part.kind.is_empty());
        let kind = match part {
            Some(part) => (part.group.to_string(), part.version.to_string(), part.kind.to_string()),
            None => (resource.group.to_string(), resource.version.to_string(), resource.kind.to_string()),
        };
        Version { group: target.group.into(), version: target.version.into(), plural: target.plural.into(), kind }
    }

    fn handler(&self, target: &Target<'_>) -> Option<&'a Handler> {
        let own = &self.context.handler.resource;
        if (&*own.group, &*own.version, &*own.plural) == (target.group, target.version, target.plural) {
            return Some(self.context.handler);
        }
        self.context.table.find(target.group, target.version, target.plural).map(|handler| &**handler)
    }

    /// The new object in a version; `None` for a deletion.
    pub fn object(&self, target: &Target<'_>) -> Result<Option<Value>, Error> {
        match &self.form {
            Form::None => Ok(None),
            Form::Stored(object) => self.encoded(target, &***object).map(Some),
            Form::Shown(object) => self.encoded(target, *object).map(Some),
            Form::Part(value) => Ok(Some((**value).clone())),
        }
    }

    /// The object before, in a version; `None` for a creation.
    pub fn old_object(&self, target: &Target<'_>) -> Result<Option<Value>, Error> {
        match self.old {
            None => Ok(None),
            Some(Old::Stored(object)) => self.encoded(target, object).map(Some),
            Some(Old::Part(value)) => Ok(Some(value.clone())),
        }
    }

    /// What the new object is made of, in a version.
    pub fn types(&self, target: &Target<'_>) -> patch::Schema {
        let part = subresource::find(&self.context.request.resource, target.subresource);
        match self.handler(target) {
            Some(handler) if part.is_none_or(|part| part.kind.is_empty()) => handler.types.clone(),
            _ => patch::Schema::unknown(),
        }
    }

    fn encoded(&self, target: &Target<'_>, object: &dyn AnyObject) -> Result<Value, Error> {
        let handler = self.handler(target).ok_or_else(Error::no_such_page)?;
        let json = handler.encode(object)?;
        serde_json::from_slice(&json).map_err(Error::internal)
    }

    /// Puts a changed object, in a version, in the place of the new one. `true` if it differs.
    pub fn replace(&mut self, target: &Target<'_>, changed: Value) -> Result<bool, Error> {
        let handler = self.handler(target).ok_or_else(Error::no_such_page)?;
        let differs = match &mut self.form {
            Form::Stored(object) => {
                let json = serde_json::to_vec(&changed).map_err(Error::internal)?;
                let (decoded, _) =
                    handler.decode(&json, Validation::Ignore).map_err(|error| Error::internal(error.message))?;
                let differs = !decoded.equals(&***object);
                **object = decoded;
                differs
            }
            Form::Part(value) => {
                let differs = **value != changed;
                **value = changed;
                differs
            }
            Form::None | Form::Shown(_) => false,
        };
        if differs {
            self.values.borrow_mut().retain(|(_, new), _| !new);
        }
        Ok(differs)
    }

    /// There is a new object, so there is something to change.
    pub fn has_object(&self) -> bool {
        !matches!(self.form, Form::None)
    }

    /// The new object, or the old one, for an expression.
    pub fn value(&self, target: &Target<'_>, new: bool) -> Result<cel::Value, Error> {
        let place = (self.version(target), new);
        if let Some(value) = self.values.borrow().get(&place) {
            return Ok(value.clone());
        }
        let json = if new { self.object(target)? } else { self.old_object(target)? };
        let value = json.as_ref().map_or(cel::Value::Null, cel::Value::from_json);
        self.values.borrow_mut().insert(place, value.clone());
        Ok(value)
    }

    /// The request's namespace as an object, for an expression; null in cluster scope.
    pub fn namespace_value(&self) -> cel::Value {
        let is_namespace = self.context.request.resource.plural == "namespaces";
        if self.namespace.is_empty() || is_namespace {
            return cel::Value::Null;
        }
        let stored = self.context.state.get(&kubelab_store::Key::new("core/namespaces", self.namespace.as_str()));
        let json: Option<Value> = stored.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        let Some(mut json) = json else { return cel::Value::Null };
        // Source: `CreateNamespaceObject`, which leaves these out.
        if let Some(meta) = json["metadata"].as_object_mut() {
            for field in ["managedFields", "ownerReferences", "selfLink"] {
                meta.remove(field);
            }
        }
        let kind = &*super::request_types::NAMESPACE;
        cel::Value::from_typed_json(&json, kind)
    }

    /// 403 about the object.
    pub fn forbidden(&self, message: &str) -> Error {
        let attributes = self.context.attributes(self.operation);
        match &self.form {
            Form::Stored(object) => attributes.forbidden(Some(&***object), message),
            Form::Shown(object) => attributes.forbidden(Some(*object), message),
            Form::Part(_) | Form::None => match self.old {
                Some(Old::Stored(object)) => attributes.forbidden(Some(object), message),
                _ => attributes.forbidden(None, message),
            },
        }
    }

    /// The namespace that the request is about; empty for cluster scope.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What policies may know of the request, by the names of AdmissionRequest.
    pub fn request(&self, target: &Target<'_>) -> Map<String, Value> {
        let request = self.context.request;
        let own = self.facts().target;
        let kind = |target: &Target<'_>| {
            let (group, version, kind) = self.version(target).kind;
            json!({"group": group, "version": version, "kind": kind})
        };
        let resource =
            |target: &Target<'_>| json!({"group": target.group, "version": target.version, "resource": target.plural});
        let user = &request.user;
        let mut info = Map::new();
        info.insert("username".into(), user.name.clone().into());
        if !user.uid.is_empty() {
            info.insert("uid".into(), user.uid.clone().into());
        }
        if !user.groups.is_empty() {
            info.insert("groups".into(), user.groups.clone().into());
        }
        if !user.extra.is_empty() {
            info.insert("extra".into(), json!(user.extra));
        }
        let mut shown = Map::new();
        shown.insert("kind".into(), kind(target));
        shown.insert("resource".into(), resource(target));
        shown.insert("requestKind".into(), kind(&own));
        shown.insert("requestResource".into(), resource(&own));
        if !request.subresource.is_empty() {
            shown.insert("subResource".into(), request.subresource.clone().into());
            shown.insert("requestSubResource".into(), request.subresource.clone().into());
        }
        if !self.name.is_empty() {
            shown.insert("name".into(), self.name.clone().into());
        }
        if !self.namespace.is_empty() {
            shown.insert("namespace".into(), self.namespace.clone().into());
        }
        shown.insert("operation".into(), self.operation.name().into());
        shown.insert("userInfo".into(), info.into());
        shown.insert("dryRun".into(), request.options.dry_run.into());
        shown.insert("options".into(), self.options());
        shown
    }

    fn options(&self) -> Value {
        let request = self.context.request;
        let sent = match (&request.body, request.verb) {
            (Body::Json(json), Verb::Delete | Verb::DeleteCollection) => serde_json::from_slice::<Value>(json).ok(),
            _ => None,
        };
        let mut options = match sent {
            Some(Value::Object(sent)) => sent,
            _ => Map::new(),
        };
        let kind = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => return Value::Null,
        };
        options.insert("kind".into(), kind.into());
        options.insert("apiVersion".into(), "meta.k8s.io/v1".into());
        if request.options.dry_run {
            options.insert("dryRun".into(), json!(["All"]));
        }
        for (name, text) in
            [("fieldManager", &request.options.field_manager), ("fieldValidation", &request.options.field_validation)]
        {
            if !text.is_empty() && kind != "DeleteOptions" {
                options.insert(name.into(), text.clone().into());
            }
        }
        options.into()
    }
}

impl Labels for Subject<'_> {
    fn namespace(&self) -> Result<Option<BTreeMap<String, String>>, Error> {
        let resource = &self.context.request.resource;
        let itself = resource.plural == "namespaces" && self.context.request.subresource.is_empty();
        if itself && self.operation != Operation::Delete {
            return Ok(match &self.form {
                Form::Stored(object) => object.metadata().labels.clone(),
                Form::Shown(object) => object.metadata().labels.clone(),
                Form::Part(_) | Form::None => None,
            });
        }
        let attributes = self.context.attributes(self.operation);
        let found: Option<k8s_openapi::api::core::v1::Namespace> =
            attributes.lookup("core/namespaces", &self.namespace)?;
        match found {
            Some(namespace) => Ok(namespace.metadata.labels),
            None => match kubelab_api::resource::find("", "v1", "namespaces") {
                Some(namespaces) => Err(Error::not_found(namespaces, &self.namespace)),
                None => Err(Error::no_such_page()),
            },
        }
    }

    fn objects(&self, selector: &Selector) -> bool {
        let of_json = |value: &Value| -> Option<BTreeMap<String, String>> {
            serde_json::from_value(value["metadata"]["labels"].clone()).ok()
        };
        let new = match &self.form {
            Form::None => None,
            Form::Stored(object) => Some(selector.matches(object.metadata().labels.as_ref())),
            Form::Shown(object) => Some(selector.matches(object.metadata().labels.as_ref())),
            Form::Part(value) => Some(selector.matches(of_json(value).as_ref())),
        };
        let old = match self.old {
            None => None,
            Some(Old::Stored(object)) => Some(selector.matches(object.metadata().labels.as_ref())),
            Some(Old::Part(value)) => Some(selector.matches(of_json(value).as_ref())),
        };
        new == Some(true) || old == Some(true)
    }
}
