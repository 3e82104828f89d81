//! Which objects a list or a watch is about. Bytes are looked into only as far as a selector needs.

use std::{collections::BTreeMap, str::FromStr};

use kubelab_api::{
    Error,
    selector::{field, label},
};
use kubelab_store::{Entry, Key};

use super::{handler::Handler, scan};
use crate::corridor::ListOptions;

/// A namespace, a name, a label selector and a field selector.
pub struct Selection {
    /// Only here; empty for all namespaces.
    pub namespace: String,
    /// Only this one.
    pub name: Option<String>,
    /// Only those with this index.
    pub index: Option<String>,
    labels: label::Selector,
    /// What the key and the index cannot tell.
    fields: field::Selector,
    namespaced: bool,
    needs_object: bool,
}

impl Selection {
    /// What a request asks for.
    pub fn new(handler: &Handler, namespace: &str, options: &ListOptions) -> Result<Self, Error> {
        let refuse = |error: kubelab_api::selector::Error| Error::bad_request(error.to_string());
        let labels = label::Selector::from_str(&options.label_selector).map_err(refuse)?;
        let fields = field::Selector::from_str(&options.field_selector).map_err(refuse)?;
        let index_field = handler.rules.index_field();
        if !fields.is_everything() {
            let names = handler.rules.field_names();
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            fields.check(&names).map_err(refuse)?;
        }
        let namespaced = handler.resource.namespaced;
        let namespace = match fields.exact("metadata.namespace") {
            Some(wanted) if namespaced && namespace.is_empty() => wanted,
            _ => namespace,
        };
        let told_by_key = |name: &str| matches!(name, "metadata.name" | "metadata.namespace") || name == index_field;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: fields.exact("metadata.name").map(str::to_owned),
            index: fields.exact(index_field).filter(|value| !value.is_empty()).map(str::to_owned),
            namespaced,
            needs_object: fields.requirements().iter().any(|wanted| !told_by_key(&wanted.field)),
            labels,
            fields,
        })
    }

    /// Everything in the namespace, or one name: what a list's `remainingItemCount` can be told for.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// What the names of all selected objects begin with.
    pub fn prefix(&self) -> String {
        match (&self.name, self.namespaced, self.namespace.as_str()) {
            (Some(name), false, _) => name.clone(),
            (None, false, _) | (_, true, "") => String::new(),
            (Some(name), true, namespace) => format!("{namespace}/{name}"),
            (None, true, namespace) => format!("{namespace}/"),
        }
    }

    /// The object is selected.
    pub fn matches(&self, handler: &Handler, key: &Key, entry: &Entry) -> bool {
        self.fields_match(handler, key, entry)
            && (self.labels.is_everything() || self.labels.matches(labels(&entry.value).as_ref()))
    }

    fn fields_match(&self, handler: &Handler, key: &Key, entry: &Entry) -> bool {
        if self.fields.is_everything() {
            return true;
        }
        let (namespace, name) = key.name.split_once('/').unwrap_or(("", &key.name));
        let index_field = handler.rules.index_field();
        let told_by_key = |field: &str| match field {
            "metadata.name" => Some(name),
            "metadata.namespace" => Some(namespace),
            field if field == index_field => entry.index.as_deref(),
            _ => None,
        };
        if !self.needs_object {
            return self.fields.matches(told_by_key);
        }
        let wanted = || self.fields.requirements().iter().map(|wanted| wanted.field.as_str());
        let written: Option<Vec<(&str, String)>> = wanted()
            .map(|field| match told_by_key(field) {
                Some(told) => Some((field, told.to_owned())),
                None => Some((field, text_at(&entry.value, field)?)),
            })
            .collect();
        if let Some(written) = written {
            return self.fields.matches(|field| value_of(&written, field));
        }
        let Ok(object) = handler.rules.read(&entry.value) else { return false };
        let of_object = handler.rules.fields(&*object);
        self.fields.matches(|field| told_by_key(field).or_else(|| value_of(&of_object, field)))
    }
}

fn value_of<'a>(values: &'a [(impl AsRef<str>, String)], field: &str) -> Option<&'a str> {
    values.iter().find(|(name, _)| name.as_ref() == field).map(|(_, value)| value.as_str())
}

/// A field whose text stands in the object under its own name, as most do. It need not be decoded for that.
fn text_at(json: &[u8], field: &str) -> Option<String> {
    let names: Vec<&str> = field.split('.').collect();
    let text = scan::text(json, scan::at(json, &names)?)?;
    (!text.is_empty()).then(|| text.into_owned())
}

fn labels(json: &[u8]) -> Option<BTreeMap<String, String>> {
    let metadata = scan::member(json, 0, "metadata")?;
    let labels = scan::member(json, metadata.start, "labels")?;
    serde_json::from_slice(json.get(labels)?).ok()
}
