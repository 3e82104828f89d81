//! What the cluster's policy adds to a request or refuses, after authorization and before validation.
//!
//! A plugin is a pure function of the request and of one state of the store. A refusal may be due to a state that is
//! behind; the registry therefore asks again on the latest state before a client hears of it.
//!
//! | plugin | what it does |
//! | --- | --- |
//! | [`namespace_lifecycle`] | nothing is created where there is no namespace, or where one is ending |
//! | [`limit_ranger`] | a namespace's limits, as defaults and as bounds |
//! | [`service_account`] | pods get an account, and its token as a volume |
//! | [`node_restriction`] | a kubelet writes only its own node and the pods on it |
//! | [`taint_nodes`] | a new node takes no pods until it is ready |
//! | [`priority`] | a priority class becomes a number |
//! | [`default_tolerations`] | pods outlast a short absence of their node |
//! | [`rbac_escalation`] | nobody gives away rights that he does not have |
//! | [`dynamic`] | what users configure: webhooks and policies, after the plugins |

pub mod default_tolerations;
pub mod dynamic;
pub mod limit_ranger;
pub mod namespace_lifecycle;
pub mod node_restriction;
pub mod priority;
pub mod rbac_escalation;
pub mod service_account;
pub mod taint_nodes;

use kubelab_api::Error;
use kubelab_store::{Key, State};

use crate::{
    corridor::Request,
    registry::{kind::Object, object::AnyObject, plan::Draw},
};

/// What is being done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes, by a PUT or a patch.
    Update,
    /// It goes.
    Delete,
    /// Somebody gets in touch with it: exec, proxy, ….
    Connect,
}

impl Operation {
    /// AdmissionReview's name.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// What a plugin has to go by, beside the object.
pub struct Attributes<'a> {
    /// Who asks for what.
    pub request: &'a Request,
    /// What is being done.
    pub operation: Operation,
    /// What else there is.
    pub state: &'a State,
    /// What the plan may choose at random.
    pub draw: Draw,
}

impl Attributes<'_> {
    /// 403 about the object at hand.
    pub fn forbidden(&self, object: Option<&dyn AnyObject>, message: &str) -> Error {
        let generate_name = |object: &dyn AnyObject| object.metadata().generate_name.clone().unwrap_or_default();
        let name = match object {
            Some(object) if !object.name().is_empty() => object.name().to_owned(),
            Some(object) if !generate_name(object).is_empty() => generate_name(object),
            _ if !self.request.name.is_empty() => self.request.name.clone(),
            _ => "Unknown".to_owned(),
        };
        Error::forbidden(&self.request.resource, &name, message)
    }

    /// The request is about objects of this type, or about this part of them.
    pub fn is_about<T: Object>(&self, subresource: &str) -> bool {
        let resource = &self.request.resource;
        resource.group == T::GROUP && resource.kind == T::KIND && self.request.subresource == subresource
    }

    /// The stored bytes of another object.
    pub fn stored(&self, topic: &str, name: &str) -> Option<&[u8]> {
        self.state.get(&Key::new(topic, name)).map(|entry| &entry.value[..])
    }

    /// Another object.
    pub fn lookup<T: Object>(&self, topic: &str, name: &str) -> Result<Option<T>, Error> {
        self.stored(topic, name).map(serde_json::from_slice).transpose().map_err(Error::internal)
    }

    /// All objects of a type, in a namespace or in all.
    pub fn list<T: Object>(&self, topic: &str, namespace: &str) -> Result<Vec<T>, Error> {
        let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let entries = self.state.range(topic, &prefix, None);
        entries.map(|(_, entry)| serde_json::from_slice(&entry.value).map_err(Error::internal)).collect()
    }
}

/// One policy.
pub trait Plugin: Send + Sync {
    /// Adds to a new or changed object, or refuses it. May run twice on an object.
    fn admit(
        &self,
        _attributes: &Attributes,
        _object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Refuses what all plugins together made of an object, or its deletion (then there is no new object).
    fn validate(
        &self,
        _attributes: &Attributes,
        _object: Option<&dyn AnyObject>,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// The plugins, in order.
pub struct Chain(Vec<Box<dyn Plugin>>);

impl Default for Chain {
    /// Those that kubelab runs, in upstream's order. Source: `AllOrderedPlugins` in
    /// `pkg/kubeapiserver/options/plugins.go`.
    fn default() -> Self {
        Self(vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(limit_ranger::LimitRanger),
            Box::new(service_account::ServiceAccountPlugin),
            Box::new(node_restriction::NodeRestriction),
            Box::new(taint_nodes::TaintNodesByCondition),
            Box::new(priority::Priority),
            Box::new(default_tolerations::DefaultTolerationSeconds),
        ])
    }
}

impl Chain {
    /// One plugin more, after the others.
    #[must_use]
    pub fn and(mut self, plugin: impl Plugin + 'static) -> Self {
        self.0.push(Box::new(plugin));
        self
    }

    /// See [`Plugin::admit`].
    pub fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        self.0.iter().try_for_each(|plugin| plugin.admit(attributes, object, old))
    }

    /// See [`Plugin::validate`].
    pub fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        self.0.iter().try_for_each(|plugin| plugin.validate(attributes, object, old))
    }
}
