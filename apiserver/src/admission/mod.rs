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
//! | [`pod_security`] | pods keep to the standard that their namespace's labels name |
//! | [`priority`] | a priority class becomes a number |
//! | [`default_tolerations`] | pods outlast a short absence of their node |
//! | [`certificate_requestor`] | certificate requests say who made them, and when they were decided |
//! | [`default_storage_class`] | claims get a storage class |
//! | [`storage_protection`] | claims and volumes that are used cannot vanish |
//! | [`claim_resize`] | claims grow only where their storage class lets them |
//! | [`runtime_class`] | pods get their runtime class's overhead and scheduling |
//! | [`certificate_approval`], [`certificate_signing`] | only who may, approves and signs for a signer |
//! | [`certificate_subject`] | nobody asks for a certificate of `system:masters` |
//! | [`default_ingress_class`] | ingresses get a class |
//! | [`pod_topology_labels`] | a bound pod shows its node's zone and region |
//! | [`rbac_escalation`] | nobody gives away rights that he does not have |
//! | [`dynamic`] | what users configure: webhooks and policies, after the plugins |
//! | [`resource_quota`] | a namespace uses no more than its quotas say; always last |

pub mod certificate_approval;
pub mod certificate_requestor;
pub mod certificate_signing;
pub mod certificate_subject;
pub mod claim_resize;
pub mod default_ingress_class;
pub mod default_storage_class;
pub mod default_tolerations;
pub mod dynamic;
pub mod figures;
pub mod limit_ranger;
pub mod namespace_lifecycle;
pub mod node_restriction;
pub mod pod_security;
pub mod pod_topology_labels;
pub mod priority;
pub mod rbac_escalation;
pub mod resource_quota;
pub mod runtime_class;
pub mod service_account;
pub mod storage_protection;
pub mod taint_nodes;
mod trust_bundle_attest;

use std::{cell::RefCell, sync::Arc};

use jiff::Timestamp;
use kubelab_api::Error;
use kubelab_store::{Key, Precondition, State, Write};

use self::figures::{Passed, Step};
use crate::{
    authorization::Decider,
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
    /// The present time.
    pub now: Timestamp,
    /// What the plan may choose at random.
    pub draw: Draw,
    effects: RefCell<Effects>,
}

/// What plugins want beside the object itself.
#[derive(Debug, Default)]
pub struct Effects {
    /// For the caller, once each.
    pub warnings: Vec<String>,
    /// What must still be true when the object is written.
    pub preconditions: Vec<Precondition>,
    /// What is written with the object, at the same revision.
    pub writes: Vec<Write>,
}

impl<'a> Attributes<'a> {
    /// No plugin has said anything yet.
    pub fn new(request: &'a Request, operation: Operation, state: &'a State, now: Timestamp) -> Self {
        Self { request, operation, state, now, draw: Draw::new(now), effects: RefCell::default() }
    }

    /// With what the plan has drawn.
    #[must_use]
    pub fn drawing(self, draw: Draw) -> Self {
        Self { draw, ..self }
    }

    /// What the plugins want.
    pub fn into_effects(self) -> Effects {
        self.effects.into_inner()
    }
}

impl Attributes<'_> {
    /// Tells the caller something, if nobody did yet.
    pub fn warn(&self, warning: String) {
        let warnings = &mut self.effects.borrow_mut().warnings;
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Writes this, too, if the precondition holds. The whole plan is made again where it does not.
    pub fn write(&self, precondition: Precondition, write: Write) {
        let mut effects = self.effects.borrow_mut();
        effects.preconditions.push(precondition);
        effects.writes.push(write);
    }

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

/// A plugin, under upstream's name, and which of the two steps it has.
struct Row {
    name: &'static str,
    steps: &'static [Step],
    plugin: Box<dyn Plugin>,
    /// Of each step.
    passed: [Passed; 2],
}

const ADMITS: &[Step] = &[Step::Admit];
const VALIDATES: &[Step] = &[Step::Validate];
const BOTH: &[Step] = &[Step::Admit, Step::Validate];

fn row(name: &'static str, steps: &'static [Step], plugin: impl Plugin + 'static) -> Row {
    Row { name, steps, plugin: Box::new(plugin), passed: Default::default() }
}

fn quota() -> Row {
    row("ResourceQuota", VALIDATES, resource_quota::ResourceQuotas)
}

/// The plugins, in order.
pub struct Chain {
    plugins: Vec<Row>,
    /// What all others let pass is charged last.
    quota: Row,
}

impl Default for Chain {
    /// Those that need nobody to decide what a user may do.
    fn default() -> Self {
        Self::of(None)
    }
}

impl Chain {
    /// All plugins; `decider` says what a user may do beyond the request itself.
    pub fn with(decider: &Arc<dyn Decider>) -> Self {
        Self::of(Some(decider)).and(rbac_escalation::RbacEscalation(Arc::clone(decider)))
    }

    /// Those that kubelab runs, in upstream's order. Source: `AllOrderedPlugins` in
    /// `pkg/kubeapiserver/options/plugins.go`.
    fn of(decider: Option<&Arc<dyn Decider>>) -> Self {
        let mut plugins = vec![
            row("NamespaceLifecycle", BOTH, namespace_lifecycle::NamespaceLifecycle),
            row("LimitRanger", BOTH, limit_ranger::LimitRanger),
            row("ServiceAccount", BOTH, service_account::ServiceAccountPlugin),
            row("NodeRestriction", VALIDATES, node_restriction::NodeRestriction),
            row("TaintNodesByCondition", ADMITS, taint_nodes::TaintNodesByCondition),
            row("PodSecurity", VALIDATES, pod_security::PodSecurity),
            row("Priority", BOTH, priority::Priority),
            row("DefaultTolerationSeconds", ADMITS, default_tolerations::DefaultTolerationSeconds),
            row("DefaultStorageClass", ADMITS, default_storage_class::DefaultStorageClass),
            row("StorageObjectInUseProtection", ADMITS, storage_protection::StorageObjectInUseProtection),
            row("PersistentVolumeClaimResize", VALIDATES, claim_resize::PersistentVolumeClaimResize),
            row("RuntimeClass", BOTH, runtime_class::RuntimeClassPlugin),
            row("", ADMITS, certificate_requestor::CertificateRequestor),
        ];
        if let Some(decider) = decider {
            let approval = certificate_approval::CertificateApproval(Arc::clone(decider));
            plugins.push(row("CertificateApproval", VALIDATES, approval));
            let signing = certificate_signing::CertificateSigning(Arc::clone(decider));
            plugins.push(row("CertificateSigning", VALIDATES, signing));
            let attest = trust_bundle_attest::ClusterTrustBundleAttest(Arc::clone(decider));
            plugins.push(row("ClusterTrustBundleAttest", VALIDATES, attest));
        }
        let subject = certificate_subject::CertificateSubjectRestriction;
        plugins.push(row("CertificateSubjectRestriction", VALIDATES, subject));
        plugins.push(row("DefaultIngressClass", ADMITS, default_ingress_class::DefaultIngressClass));
        plugins.push(row("PodTopologyLabels", ADMITS, pod_topology_labels::PodTopologyLabels));
        Self { plugins, quota: quota() }
    }

    /// No plugins; quotas are charged.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn empty() -> Self {
        Self { plugins: Vec::new(), quota: quota() }
    }

    /// One plugin more, after the others; only quotas are charged later.
    #[must_use]
    pub fn and(mut self, plugin: impl Plugin + 'static) -> Self {
        self.plugins.push(row("", BOTH, plugin));
        self
    }

    fn with_step(&self, step: Step) -> impl Iterator<Item = &Row> {
        self.plugins.iter().filter(move |row| row.steps.contains(&step))
    }

    /// See [`Plugin::admit`].
    pub fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        figures::step(attributes.operation, Step::Admit, || {
            self.with_step(Step::Admit).try_for_each(|row| {
                let admit = || row.plugin.admit(attributes, &mut *object, old);
                figures::plugin(row.name, attributes.operation, Step::Admit, &row.passed[0], admit)
            })
        })
    }

    /// See [`Plugin::validate`].
    pub fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        self.judge(attributes, object, old)?;
        self.charge(attributes, object, old)
    }

    /// See [`Plugin::validate`]; quotas are not charged yet.
    pub fn judge(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        figures::step(attributes.operation, Step::Validate, || {
            self.with_step(Step::Validate).try_for_each(|row| {
                let validate = || row.plugin.validate(attributes, object, old);
                figures::plugin(row.name, attributes.operation, Step::Validate, &row.passed[1], validate)
            })
        })
    }

    /// Charges the quotas for what all others let pass.
    pub fn charge(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let charge = || self.quota.plugin.validate(attributes, object, old);
        figures::plugin(self.quota.name, attributes.operation, Step::Validate, &self.quota.passed[1], charge)
    }
}
