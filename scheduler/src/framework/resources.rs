//! Amounts as integers, so that a cycle parses nothing.

use std::{
    collections::BTreeMap,
    ops::{AddAssign, SubAssign},
};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kubelab_api::Quantity;

/// What a pod asks for or a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// How many pods a node takes; pods do not ask for it.
    pub pods: i64,
    /// Everything else: huge pages, devices.
    pub scalar: BTreeMap<String, i64>,
}

/// A resource's name, told apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ResourceName {
    Cpu,
    Memory,
    EphemeralStorage,
    Scalar(String),
}

impl ResourceName {
    /// The resource with this name.
    pub fn of(name: &str) -> Self {
        match name {
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            "ephemeral-storage" => Self::EphemeralStorage,
            other => Self::Scalar(other.to_owned()),
        }
    }
}

impl Resources {
    /// How much there is of a resource.
    pub fn of(&self, name: &ResourceName) -> i64 {
        match name {
            ResourceName::Cpu => self.milli_cpu,
            ResourceName::Memory => self.memory,
            ResourceName::EphemeralStorage => self.ephemeral_storage,
            ResourceName::Scalar(name) => self.scalar.get(name).copied().unwrap_or_default(),
        }
    }

    /// These amounts as integers, rounded up.
    pub fn new(amounts: impl IntoIterator<Item = (String, Quantity)>) -> Self {
        let mut resources = Self::default();
        for (name, amount) in amounts {
            match name.as_str() {
                "cpu" => resources.milli_cpu = amount.milli_value(),
                "memory" => resources.memory = amount.value(),
                "ephemeral-storage" => resources.ephemeral_storage = amount.value(),
                "pods" => resources.pods = amount.value(),
                _ => {
                    resources.scalar.insert(name, amount.value());
                }
            }
        }
        resources
    }

    /// A node's amounts as it writes them; a malformed one counts as nothing.
    pub fn parse(texts: Option<&BTreeMap<String, Text>>) -> Self {
        let parse = |(name, text): (&String, _)| Some((name.clone(), Quantity::try_from(text).ok()?));
        Self::new(texts.into_iter().flatten().filter_map(parse))
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        self.milli_cpu += other.milli_cpu;
        self.memory += other.memory;
        self.ephemeral_storage += other.ephemeral_storage;
        for (name, amount) in &other.scalar {
            *self.scalar.entry(name.clone()).or_default() += amount;
        }
    }
}

impl SubAssign<&Resources> for Resources {
    fn sub_assign(&mut self, other: &Resources) {
        self.milli_cpu -= other.milli_cpu;
        self.memory -= other.memory;
        self.ephemeral_storage -= other.ephemeral_storage;
        for (name, amount) in &other.scalar {
            *self.scalar.entry(name.clone()).or_default() -= amount;
        }
    }
}
