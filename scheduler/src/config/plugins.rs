//! Which plugins a profile runs where. Source: `mergePluginSet` and `expandMultiPointPlugins`.

use std::sync::Arc;

use kubelab_api::field::{Errors, Path};

use super::{
    args::{self, Args},
    document::{PluginDocument, PluginSet, ProfileDocument},
};
use crate::{
    framework::{
        Bind, Filter, PostFilter, PreBind, PreEnqueue, PreFilter, PreScore, Profile, QueueSort, Reserve, Score,
    },
    parallel::Parallelism,
    plugins::{
        DefaultBinder, ImageLocality, NodeName, NodePorts, NodeUnschedulable, NodeVolumeLimits, PrioritySort,
        SchedulingGates, TaintToleration, VolumeRestrictions, VolumeZone,
    },
};

/// The plugins of every cluster, with weights of those that score. Source: `getDefaultPlugins`.
const DEFAULT: [(&str, i64); 18] = [
    ("SchedulingGates", 0),
    ("PrioritySort", 0),
    ("NodeUnschedulable", 0),
    ("NodeName", 0),
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodePorts", 0),
    ("NodeResourcesFit", 1),
    ("VolumeRestrictions", 0),
    ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0),
    ("VolumeZone", 0),
    ("PodTopologySpread", 2),
    ("InterPodAffinity", 2),
    ("DefaultPreemption", 0),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
    ("DefaultBinder", 0),
];

/// A plugin at each of its extension points.
#[derive(Clone, Default)]
struct Provided {
    pre_enqueue: Option<Arc<dyn PreEnqueue>>,
    queue_sort: Option<Arc<dyn QueueSort>>,
    pre_filter: Option<Arc<dyn PreFilter>>,
    filter: Option<Arc<dyn Filter>>,
    post_filter: Option<Arc<dyn PostFilter>>,
    pre_score: Option<Arc<dyn PreScore>>,
    score: Option<Arc<dyn Score>>,
    reserve: Option<Arc<dyn Reserve>>,
    pre_bind: Option<Arc<dyn PreBind>>,
    bind: Option<Arc<dyn Bind>>,
}

/// The plugin with this name; `None` if there is none.
fn provide(name: &str, args: &Args) -> Option<Provided> {
    let none = Provided::default();
    Some(match name {
        "SchedulingGates" => Provided { pre_enqueue: Some(Arc::new(SchedulingGates)), ..none },
        "PrioritySort" => Provided { queue_sort: Some(Arc::new(PrioritySort)), ..none },
        "NodeUnschedulable" => Provided { filter: Some(Arc::new(NodeUnschedulable)), ..none },
        "NodeName" => Provided { filter: Some(Arc::new(NodeName)), ..none },
        "TaintToleration" => {
            let it = Arc::new(TaintToleration);
            Provided { filter: Some(it.clone()), pre_score: Some(it.clone()), score: Some(it), ..none }
        }
        "NodeAffinity" => {
            let it = Arc::new(args.node_affinity.clone());
            Provided {
                pre_filter: Some(it.clone()),
                filter: Some(it.clone()),
                pre_score: Some(it.clone()),
                score: Some(it),
                ..none
            }
        }
        "NodePorts" => {
            let it = Arc::new(NodePorts);
            Provided { pre_filter: Some(it.clone()), filter: Some(it), ..none }
        }
        "NodeResourcesFit" => {
            let it = Arc::new(args.fit.clone());
            Provided { pre_filter: Some(it.clone()), filter: Some(it.clone()), score: Some(it), ..none }
        }
        "VolumeRestrictions" => {
            let it = Arc::new(VolumeRestrictions);
            Provided { pre_filter: Some(it.clone()), filter: Some(it), ..none }
        }
        "NodeVolumeLimits" => {
            let it = Arc::new(NodeVolumeLimits);
            Provided { pre_filter: Some(it.clone()), filter: Some(it), ..none }
        }
        "VolumeBinding" => {
            let it = Arc::new(args.volume_binding.clone());
            Provided {
                pre_filter: Some(it.clone()),
                filter: Some(it.clone()),
                reserve: Some(it.clone()),
                pre_bind: Some(it),
                ..none
            }
        }
        "VolumeZone" => {
            let it = Arc::new(VolumeZone);
            Provided { pre_filter: Some(it.clone()), filter: Some(it), ..none }
        }
        "PodTopologySpread" => {
            let it = Arc::new(args.spread.clone());
            Provided {
                pre_filter: Some(it.clone()),
                filter: Some(it.clone()),
                pre_score: Some(it.clone()),
                score: Some(it),
                ..none
            }
        }
        "InterPodAffinity" => {
            let it = Arc::new(args.inter_pod_affinity.clone());
            Provided {
                pre_filter: Some(it.clone()),
                filter: Some(it.clone()),
                pre_score: Some(it.clone()),
                score: Some(it),
                ..none
            }
        }
        "DefaultPreemption" => Provided { post_filter: Some(Arc::new(args.preemption.clone())), ..none },
        "NodeResourcesBalancedAllocation" => {
            let it = Arc::new(args.balanced.clone());
            Provided { pre_score: Some(it.clone()), score: Some(it), ..none }
        }
        "ImageLocality" => {
            let it = Arc::new(ImageLocality);
            Provided { pre_score: Some(it.clone()), score: Some(it), ..none }
        }
        "DefaultBinder" => Provided { bind: Some(Arc::new(DefaultBinder)), ..none },
        _ => return None,
    })
}

/// Plugins in the order in which they run, with their weights.
type Ordered = Vec<(String, i64)>;

fn weights(plugins: &[PluginDocument]) -> Ordered {
    plugins.iter().map(|plugin| (plugin.name.clone(), plugin.weight.unwrap_or_default())).collect()
}

/// The default plugins with what the profile adds, replaces and takes away at all points at once.
fn everywhere(set: &PluginSet) -> Ordered {
    let custom = weights(&set.enabled);
    let defaults = DEFAULT.iter().filter(|(name, _)| !set.disables(name));
    let mut plugins: Ordered = defaults
        .map(|(name, weight)| {
            let replaced = custom.iter().find(|(custom, _)| custom == name);
            replaced.cloned().unwrap_or_else(|| ((*name).to_owned(), *weight))
        })
        .collect();
    for (name, weight) in custom {
        if !plugins.iter().any(|(present, _)| *present == name) {
            plugins.push((name, weight));
        }
    }
    plugins
}

/// The plugins at one point: those that the profile names there, in its order (first those that would run anyway), then the
/// others that have something to do there.
fn at_point<T: Clone>(
    everywhere: &Ordered,
    set: &PluginSet,
    args: &Args,
    part: impl Fn(&Provided) -> Option<T>,
) -> Vec<(String, T, i64)> {
    let named = weights(&set.enabled);
    let is_named = |name: &str| named.iter().any(|(other, _)| other == name);
    let runs_anyway = |name: &str| everywhere.iter().any(|(other, _)| other == name);
    let (first, second): (Ordered, Ordered) =
        named.iter().cloned().partition(|(name, _)| runs_anyway(name) && !set.disables(name));
    let rest = everywhere.iter().filter(|(name, _)| !set.disables(name) && !is_named(name)).cloned();
    let all = first.into_iter().chain(second).chain(rest);
    all.filter_map(|(name, weight)| {
        let part = part(&provide(&name, args)?)?;
        Some((name, part, weight))
    })
    .collect()
}

fn parts<T>(plugins: Vec<(String, T, i64)>) -> Vec<T> {
    plugins.into_iter().map(|(_, part, _)| part).collect()
}

/// The profile that a document describes; `None` if it makes no sense, with the reasons in `errors`.
pub fn profile(document: &ProfileDocument, path: &Path, errors: &mut Errors) -> Option<Profile> {
    let before = errors.0.len();
    let args = args::read(&document.plugin_config, &path.child("pluginConfig"), errors);
    let sets = &document.plugins;
    check(document, &path.child("plugins"), &args, errors);
    let all = everywhere(&sets.multi_point);
    let scores = at_point(&all, &sets.score, &args, |it| it.score.clone());
    let name = document.scheduler_name.clone().unwrap_or_default();
    let mut queue_sorts = parts(at_point(&all, &sets.queue_sort, &args, |it| it.queue_sort.clone()));
    let mut binds = parts(at_point(&all, &sets.bind, &args, |it| it.bind.clone()));
    if queue_sorts.len() != 1 {
        let detail = format!("only one queue sort plugin required for profile with scheduler name {name:?}");
        errors.invalid(&path.child("plugins").child("queueSort"), queue_sorts.len(), &detail);
    }
    if binds.is_empty() {
        let detail = format!("at least one bind plugin is needed for profile with scheduler name {name:?}");
        errors.required(&path.child("plugins").child("bind"), &detail);
    }
    if errors.0.len() > before {
        return None;
    }
    Some(Profile {
        scheduler_name: name,
        percentage_of_nodes_to_score: 0,
        parallelism: Parallelism::default(),
        pre_enqueue: parts(at_point(&all, &sets.pre_enqueue, &args, |it| it.pre_enqueue.clone())),
        queue_sort: queue_sorts.pop()?,
        pre_filter: parts(at_point(&all, &sets.pre_filter, &args, |it| it.pre_filter.clone())),
        filter: parts(at_point(&all, &sets.filter, &args, |it| it.filter.clone())),
        post_filter: parts(at_point(&all, &sets.post_filter, &args, |it| it.post_filter.clone())),
        pre_score: parts(at_point(&all, &sets.pre_score, &args, |it| it.pre_score.clone())),
        // A weight of 0 is none given.
        score: scores.into_iter().map(|(_, part, weight)| (part, weight.max(1))).collect(),
        reserve: parts(at_point(&all, &sets.reserve, &args, |it| it.reserve.clone())),
        pre_bind: parts(at_point(&all, &sets.pre_bind, &args, |it| it.pre_bind.clone())),
        bind: binds.swap_remove(0),
    })
}

/// Plugins that are enabled must exist, once, and do something at that point.
fn check(document: &ProfileDocument, path: &Path, args: &Args, errors: &mut Errors) {
    let sets = &document.plugins;
    let points: [(&str, &PluginSet, fn(&Provided) -> bool); 13] = [
        ("multiPoint", &sets.multi_point, |_| true),
        ("preEnqueue", &sets.pre_enqueue, |it| it.pre_enqueue.is_some()),
        ("queueSort", &sets.queue_sort, |it| it.queue_sort.is_some()),
        ("preFilter", &sets.pre_filter, |it| it.pre_filter.is_some()),
        ("filter", &sets.filter, |it| it.filter.is_some()),
        ("postFilter", &sets.post_filter, |it| it.post_filter.is_some()),
        ("preScore", &sets.pre_score, |it| it.pre_score.is_some()),
        ("score", &sets.score, |it| it.score.is_some()),
        ("reserve", &sets.reserve, |it| it.reserve.is_some()),
        ("permit", &sets.permit, |_| false),
        ("preBind", &sets.pre_bind, |it| it.pre_bind.is_some()),
        ("bind", &sets.bind, |it| it.bind.is_some()),
        ("postBind", &sets.post_bind, |_| false),
    ];
    for (point, set, does) in points {
        for (at, plugin) in set.enabled.iter().enumerate() {
            let path = path.child(point).child("enabled").index(at);
            match provide(&plugin.name, args) {
                None => errors.not_found(&path.child("name"), plugin.name.as_str()),
                Some(provided) if !does(&provided) => {
                    let detail = format!("plugin {:?} does not extend {point} plugin", plugin.name);
                    errors.invalid(&path.child("name"), plugin.name.as_str(), &detail);
                }
                Some(_) if set.enabled[..at].iter().any(|other| other.name == plugin.name) => {
                    errors.duplicate(&path.child("name"), plugin.name.as_str());
                }
                Some(_) => {}
            }
            if plugin.weight.is_some_and(|weight| !(0..=i64::from(i32::MAX)).contains(&weight)) {
                errors.invalid(&path.child("weight"), plugin.weight.unwrap_or_default(), "must not be negative");
            }
        }
    }
}

/// What every cluster has.
pub fn default_profile() -> Profile {
    let name = Some(crate::framework::DEFAULT_SCHEDULER.to_owned());
    let document = ProfileDocument { scheduler_name: name, ..ProfileDocument::default() };
    let mut errors = Errors::default();
    match profile(&document, &Path::default(), &mut errors) {
        Some(profile) => profile,
        None => unreachable!("the default profile is valid: {errors}"),
    }
}
