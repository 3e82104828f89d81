//! What plugins are told. Source: `apis/config/validation/validation_pluginargs.go` and `apis/config/v1/defaults.go`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, TopologySpreadConstraint};
use kubelab_api::field::{Errors, Path};
use serde::{Deserialize, de::DeserializeOwned};

use super::document::PluginConfig;
use crate::{
    framework::{MAX_NODE_SCORE, ResourceName},
    plugins::{
        BalancedAllocation, DefaultPreemption, Fit, InterPodAffinity, NodeAffinity, PodTopologySpread, Shape, Strategy,
        VolumeBinding, Weights,
    },
};

/// The plugins that can be told something, as they were told.
#[derive(Default)]
pub struct Args {
    pub fit: Fit,
    pub balanced: BalancedAllocation,
    pub node_affinity: NodeAffinity,
    pub inter_pod_affinity: InterPodAffinity,
    pub spread: PodTopologySpread,
    pub preemption: DefaultPreemption,
    pub volume_binding: VolumeBinding,
}

/// A shape's scores go to 10 in the configuration.
const SHAPE_MAX: i64 = 10;

macro_rules! arguments {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        struct $name {
            #[serde(rename = "apiVersion")]
            _api_version: Option<String>,
            #[serde(rename = "kind")]
            _kind: Option<String>,
            $($field: $type,)*
        }
    };
}

arguments!(FitArgs {
    ignored_resources: Vec<String>,
    ignored_resource_groups: Vec<String>,
    scoring_strategy: Option<StrategyArgs>,
});
arguments!(BalancedArgs { resources: Vec<ResourceSpec>, });
arguments!(NodeAffinityArgs { added_affinity: Option<Affinity>, });
arguments!(InterPodAffinityArgs {
    hard_pod_affinity_weight: Option<i64>,
    ignore_preferred_terms_of_existing_pods: bool,
});
arguments!(SpreadArgs {
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: Option<String>,
});
arguments!(PreemptionArgs {
    min_candidate_nodes_percentage: Option<i64>,
    min_candidate_nodes_absolute: Option<i64>,
});
arguments!(VolumeBindingArgs {
    bind_timeout_seconds: Option<i64>,
    shape: Vec<ShapePoint>,
});

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct StrategyArgs {
    r#type: String,
    resources: Vec<ResourceSpec>,
    requested_to_capacity_ratio: RatioArgs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RatioArgs {
    shape: Vec<ShapePoint>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ShapePoint {
    utilization: i64,
    score: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ResourceSpec {
    name: String,
    weight: Option<i64>,
}

/// Reads what a profile tells its plugins.
pub fn read(configs: &[PluginConfig], path: &Path, errors: &mut Errors) -> Args {
    let mut args = Args::default();
    for (at, config) in configs.iter().enumerate() {
        let path = path.index(at);
        if configs[..at].iter().any(|other| other.name == config.name) {
            errors.duplicate(&path, config.name.as_str());
        }
        let reader = Reader { config, path: path.child("args") };
        match config.name.as_str() {
            "NodeResourcesFit" => args.fit = reader.fit(errors),
            "NodeResourcesBalancedAllocation" => args.balanced = reader.balanced(errors),
            "NodeAffinity" => args.node_affinity = reader.node_affinity(errors),
            "InterPodAffinity" => args.inter_pod_affinity = reader.inter_pod_affinity(errors),
            "PodTopologySpread" => args.spread = reader.spread(errors),
            "DefaultPreemption" => args.preemption = reader.preemption(errors),
            "VolumeBinding" => args.volume_binding = reader.volume_binding(errors),
            _ => errors.not_supported(&path.child("name"), &config.name, &CONFIGURABLE),
        }
    }
    args
}

const CONFIGURABLE: [&str; 7] = [
    "DefaultPreemption",
    "InterPodAffinity",
    "NodeAffinity",
    "NodeResourcesBalancedAllocation",
    "NodeResourcesFit",
    "PodTopologySpread",
    "VolumeBinding",
];

struct Reader<'a> {
    config: &'a PluginConfig,
    path: Path,
}

impl Reader<'_> {
    fn args<T: DeserializeOwned + Default>(&self, errors: &mut Errors) -> T {
        let args = &self.config.args;
        let expected = format!("{}Args", self.config.name);
        if let Some(kind) = args["kind"].as_str().filter(|kind| *kind != expected) {
            errors.invalid(&self.path.child("kind"), kind, &format!("has to match plugin args: {expected}"));
        }
        if args.is_null() {
            return T::default();
        }
        T::deserialize(args).unwrap_or_else(|error| {
            errors.invalid_unshown(&self.path, &error.to_string());
            T::default()
        })
    }

    fn fit(&self, errors: &mut Errors) -> Fit {
        let args: FitArgs = self.args(errors);
        for (at, name) in args.ignored_resource_groups.iter().enumerate() {
            if name.contains('/') {
                let path = self.path.child("ignoredResourceGroups").index(at);
                errors.invalid(&path, name.as_str(), "resource group name can't contain '/'");
            }
        }
        let strategy = match &args.scoring_strategy {
            None => Strategy::default(),
            Some(strategy) => self.strategy(strategy, errors),
        };
        Fit { ignored: args.ignored_resources, ignored_groups: args.ignored_resource_groups, strategy }
    }

    fn strategy(&self, strategy: &StrategyArgs, errors: &mut Errors) -> Strategy {
        let path = self.path.child("scoringStrategy");
        let weights = weights(&strategy.resources, &path.child("resources"), errors);
        match strategy.r#type.as_str() {
            "LeastAllocated" => Strategy::LeastAllocated(weights),
            "MostAllocated" => Strategy::MostAllocated(weights),
            "RequestedToCapacityRatio" => {
                let path = path.child("requestedToCapacityRatio").child("shape");
                let shape = shape(&strategy.requested_to_capacity_ratio.shape, &path, errors);
                Strategy::RequestedToCapacityRatio(weights, shape)
            }
            other => {
                let allowed = ["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"];
                errors.not_supported(&path.child("type"), other, &allowed);
                Strategy::default()
            }
        }
    }

    fn balanced(&self, errors: &mut Errors) -> BalancedAllocation {
        let args: BalancedArgs = self.args(errors);
        let path = self.path.child("resources");
        for (at, resource) in args.resources.iter().enumerate() {
            if resource.weight.is_some_and(|weight| weight != 1) {
                let weight = resource.weight.unwrap_or_default();
                errors.invalid(&path.index(at).child("weight"), weight, "resource weight must be 1");
            }
        }
        BalancedAllocation { resources: weights(&args.resources, &path, errors) }
    }

    fn node_affinity(&self, errors: &mut Errors) -> NodeAffinity {
        let args: NodeAffinityArgs = self.args(errors);
        args.added_affinity.as_ref().map(NodeAffinity::with_added).unwrap_or_default()
    }

    fn inter_pod_affinity(&self, errors: &mut Errors) -> InterPodAffinity {
        let args: InterPodAffinityArgs = self.args(errors);
        let weight = args.hard_pod_affinity_weight.unwrap_or(1);
        if !(0..=100).contains(&weight) {
            errors.invalid(&self.path.child("hardPodAffinityWeight"), weight, "not in valid range [0, 100]");
        }
        InterPodAffinity {
            hard_pod_affinity_weight: weight,
            ignore_preferred_terms_of_existing_pods: args.ignore_preferred_terms_of_existing_pods,
        }
    }

    fn spread(&self, errors: &mut Errors) -> PodTopologySpread {
        let args: SpreadArgs = self.args(errors);
        let path = self.path.child("defaultConstraints");
        for (at, constraint) in args.default_constraints.iter().enumerate() {
            let path = path.index(at);
            if constraint.max_skew <= 0 {
                errors.invalid(&path.child("maxSkew"), constraint.max_skew, "not in valid range (0, inf)");
            }
            if constraint.topology_key.is_empty() {
                errors.required(&path.child("topologyKey"), "can not be empty");
            }
            let wish = constraint.when_unsatisfiable.as_str();
            if !matches!(wish, "DoNotSchedule" | "ScheduleAnyway") {
                errors.not_supported(&path.child("whenUnsatisfiable"), wish, &["DoNotSchedule", "ScheduleAnyway"]);
            }
            if constraint.label_selector.is_some() {
                errors.forbidden(
                    &path.child("labelSelector"),
                    "constraint must not define a selector, as they deduced for each pod",
                );
            }
        }
        match args.defaulting_type.as_deref() {
            None | Some("System") if args.default_constraints.is_empty() => PodTopologySpread::default(),
            None | Some("System") => {
                let detail = "when .defaultingType is System, defaultConstraints must be empty";
                errors.invalid_unshown(&path, detail);
                PodTopologySpread::default()
            }
            Some("List") => PodTopologySpread::with_defaults(args.default_constraints),
            Some(other) => {
                errors.not_supported(&self.path.child("defaultingType"), other, &["System", "List"]);
                PodTopologySpread::default()
            }
        }
    }

    fn preemption(&self, errors: &mut Errors) -> DefaultPreemption {
        let args: PreemptionArgs = self.args(errors);
        let percentage = args.min_candidate_nodes_percentage.unwrap_or(10);
        let absolute = args.min_candidate_nodes_absolute.unwrap_or(100);
        if !(0..=100).contains(&percentage) {
            let path = self.path.child("minCandidateNodesPercentage");
            errors.invalid(&path, percentage, "not in valid range [0, 100]");
        }
        if absolute < 0 {
            let path = self.path.child("minCandidateNodesAbsolute");
            errors.invalid(&path, absolute, "not in valid range [0, inf)");
        }
        if percentage == 0 && absolute == 0 {
            let detail = "cannot be zero at the same time as minCandidateNodesAbsolute";
            errors.invalid(&self.path.child("minCandidateNodesPercentage"), percentage, detail);
        }
        DefaultPreemption {
            min_candidate_nodes_percentage: usize::try_from(percentage).unwrap_or_default(),
            min_candidate_nodes_absolute: usize::try_from(absolute).unwrap_or_default(),
        }
    }

    fn volume_binding(&self, errors: &mut Errors) -> VolumeBinding {
        let args: VolumeBindingArgs = self.args(errors);
        let seconds = args.bind_timeout_seconds.unwrap_or(600);
        if seconds < 0 {
            let path = self.path.child("bindTimeoutSeconds");
            errors.invalid(&path, seconds, "invalid BindTimeoutSeconds, should not be a negative value");
        }
        if !args.shape.is_empty() {
            errors.forbidden(&self.path.child("shape"), "storage capacity is not scored; remove it");
        }
        VolumeBinding { bind_timeout: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()) }
    }
}

/// Resources with weights; CPU and memory if none are given.
fn weights(resources: &[ResourceSpec], path: &Path, errors: &mut Errors) -> Weights {
    if resources.is_empty() {
        return vec![(ResourceName::Cpu, 1), (ResourceName::Memory, 1)];
    }
    let mut weights = Vec::new();
    for (at, resource) in resources.iter().enumerate() {
        let path = path.index(at);
        if resources[..at].iter().any(|other| other.name == resource.name) {
            errors.duplicate(&path.child("name"), resource.name.as_str());
        }
        if resource.name.is_empty() {
            errors.required(&path.child("name"), "");
        }
        let weight = resource.weight.unwrap_or(1);
        if !(1..=100).contains(&weight) {
            let detail = format!("resource weight of {} not in valid range [1, 100]", resource.name);
            errors.invalid(&path.child("weight"), weight, &detail);
        }
        weights.push((ResourceName::of(&resource.name), weight));
    }
    weights
}

fn shape(points: &[ShapePoint], path: &Path, errors: &mut Errors) -> Shape {
    if points.is_empty() {
        errors.required(path, "at least one point must be specified");
    }
    for (at, point) in points.iter().enumerate() {
        let path = path.index(at);
        if !(0..=100).contains(&point.utilization) {
            errors.invalid(&path.child("utilization"), point.utilization, "not in valid range [0, 100]");
        }
        if !(0..=SHAPE_MAX).contains(&point.score) {
            errors.invalid(&path.child("score"), point.score, "not in valid range [0, 10]");
        }
        if at > 0 && points[at - 1].utilization >= point.utilization {
            errors.invalid(
                &path.child("utilization"),
                point.utilization,
                "utilization values must be sorted in increasing order",
            );
        }
    }
    Shape(points.iter().map(|point| (point.utilization, point.score * MAX_NODE_SCORE / SHAPE_MAX)).collect())
}
