//! The table of kinds: one row for each resource in each version that is served.

use std::{collections::HashMap, sync::Arc};

use kubelab_api::{Error, Resource};

use super::{
    handler::{self, Handler},
    kind::Kind,
    kinds::{self, Visitor},
    version::Conversion,
};

/// Handlers by resource.
#[derive(Clone, Default)]
pub struct Table {
    by_plural: HashMap<String, Vec<Arc<Handler>>>,
    /// The handlers of custom kinds, in discovery's order.
    custom: Vec<Arc<Handler>>,
}

impl FromIterator<Handler> for Table {
    fn from_iter<I: IntoIterator<Item = Handler>>(rows: I) -> Self {
        let mut table = Self::default();
        for row in rows {
            table.by_plural.entry(row.resource.plural.to_string()).or_default().push(Arc::new(row));
        }
        table
    }
}

/// Gathers the rows of the table of kinds.
pub(super) struct Rows(pub Vec<Handler>);

impl Visitor for Rows {
    fn row<K: Kind>(&mut self, group: &'static str, version: &'static str, plural: &'static str) {
        self.0.extend(handler::row::<K>(group, version, plural));
    }

    fn converted<K: Kind, C: Conversion<Stored = K::Object>>(
        &mut self,
        group: &'static str,
        version: &'static str,
        plural: &'static str,
    ) {
        self.0.extend(handler::converted::<K, C>(group, version, plural));
    }
}

impl Table {
    /// The built-in kinds.
    pub fn built_in() -> Self {
        let mut rows = Rows(Vec::new());
        kinds::rows(&mut rows);
        rows.0.into_iter().collect()
    }

    /// Adds the handler of a custom kind. Where a built-in one has its place, it stays there.
    pub fn add(&mut self, handler: Arc<Handler>) {
        let resource = &handler.resource;
        if self.find(&resource.group, &resource.version, &resource.plural).is_none() {
            self.by_plural.entry(resource.plural.to_string()).or_default().push(Arc::clone(&handler));
            self.custom.push(handler);
        }
    }

    /// The handlers of custom kinds, by group.
    pub fn custom(&self) -> &[Arc<Handler>] {
        &self.custom
    }

    /// The handler of a resource, if it is stored.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Handler>> {
        let handlers = self.by_plural.get(plural)?;
        handlers.iter().find(|handler| handler.resource.group == group && handler.resource.version == version)
    }

    /// The handler of a resource, or 404.
    pub fn get(&self, resource: &Resource) -> Result<&Arc<Handler>, Error> {
        self.find(&resource.group, &resource.version, &resource.plural).ok_or_else(Error::no_such_page)
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Handler>> {
        self.by_plural.values().flatten()
    }
}
