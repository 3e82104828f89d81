use super::*;
use crate::framework::Plugin;

const HEAD: &str = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

fn parse(rest: &str) -> Result<Configuration, Error> {
    Configuration::parse(&format!("{HEAD}{rest}"))
}

fn refused(rest: &str) -> String {
    parse(rest).err().map_or_else(|| "accepted".to_owned(), |error| error.to_string())
}

fn profile(config: &Configuration, name: &str) -> Profile {
    let found = config.profiles.iter().find(|profile| profile.scheduler_name == name);
    (**found.unwrap_or_else(|| panic!("no profile {name}"))).clone()
}

fn names<T: Plugin + ?Sized>(plugins: &[std::sync::Arc<T>]) -> Vec<&'static str> {
    plugins.iter().map(|plugin| plugin.name()).collect()
}

fn scores(profile: &Profile) -> Vec<(&'static str, i64)> {
    profile.score.iter().map(|(plugin, weight)| (plugin.name(), *weight)).collect()
}

#[test]
fn the_default_profile_is_upstreams() {
    let profile = profile(&parse("").unwrap(), "default-scheduler");
    assert_eq!(
        names(&profile.filter),
        [
            "NodeUnschedulable",
            "NodeName",
            "TaintToleration",
            "NodeAffinity",
            "NodePorts",
            "NodeResourcesFit",
            "VolumeRestrictions",
            "NodeVolumeLimits",
            "VolumeBinding",
            "VolumeZone",
            "PodTopologySpread",
            "InterPodAffinity",
        ]
    );
    assert_eq!(
        scores(&profile),
        [
            ("TaintToleration", 3),
            ("NodeAffinity", 2),
            ("NodeResourcesFit", 1),
            ("PodTopologySpread", 2),
            ("InterPodAffinity", 2),
            ("NodeResourcesBalancedAllocation", 1),
            ("ImageLocality", 1),
        ]
    );
    assert_eq!(names(&profile.post_filter), ["DefaultPreemption"]);
    assert_eq!((profile.queue_sort.name(), profile.bind.name()), ("PrioritySort", "DefaultBinder"));
}

#[test]
fn plugins_are_enabled_disabled_and_ordered() {
    let config = parse(
        "percentageOfNodesToScore: 70
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 60
parallelism: 8
leaderElection: {leaderElect: false}
profiles:
- schedulerName: default-scheduler
  plugins:
    score:
      disabled: [{name: '*'}]
      enabled: [{name: NodeResourcesFit, weight: 5}, {name: ImageLocality}]
- schedulerName: simple
  percentageOfNodesToScore: 100
  plugins:
    multiPoint:
      disabled: [{name: InterPodAffinity}, {name: DefaultPreemption}]
      enabled: [{name: TaintToleration, weight: 9}]
    filter:
      enabled: [{name: NodeResourcesFit}]
      disabled: [{name: VolumeZone}]
",
    )
    .unwrap();
    assert_eq!(config.backoff, Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(60) });
    let default = profile(&config, "default-scheduler");
    assert_eq!(scores(&default), [("NodeResourcesFit", 5), ("ImageLocality", 1)]);
    assert_eq!(default.percentage_of_nodes_to_score, 70);
    let simple = profile(&config, "simple");
    assert_eq!(simple.percentage_of_nodes_to_score, 100);
    assert_eq!(names(&simple.filter)[..2], ["NodeResourcesFit", "NodeUnschedulable"]);
    assert!(!names(&simple.filter).contains(&"VolumeZone") && !names(&simple.filter).contains(&"InterPodAffinity"));
    assert!(names(&simple.pre_filter).contains(&"VolumeZone"));
    assert!(simple.post_filter.is_empty());
    assert_eq!(scores(&simple)[0], ("TaintToleration", 9));
}

#[test]
fn what_is_wrong_is_said() {
    let profile = |text: &str| format!("profiles: [{{schedulerName: a, {text}}}]");
    let args = |name: &str, args: &str| profile(&format!("pluginConfig: [{{name: {name}, args: {args}}}]"));
    for (text, expected) in [
        (
            "podInitialBackoffSeconds: 0".to_owned(),
            "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0",
        ),
        ("podMaxBackoffSeconds: 0".to_owned(), "must be greater than or equal to PodInitialBackoffSeconds"),
        ("parallelism: -1".to_owned(), "parallelism: Invalid value: -1: should be an integer value greater than zero"),
        (
            "percentageOfNodesToScore: 101".to_owned(),
            "percentageOfNodesToScore: Invalid value: 101: not in valid range",
        ),
        (
            "profiles: [{schedulerName: a}, {schedulerName: a}]".to_owned(),
            "profiles[1].schedulerName: Duplicate value: \"a\"",
        ),
        ("profiles: [{}, {schedulerName: a}]".to_owned(), "profiles[0].schedulerName: Required value"),
        ("extenders: [{urlPrefix: x}]".to_owned(), "extenders: Forbidden"),
        ("profile: []".to_owned(), "malformed"),
        (
            profile("plugins: {filter: {enabled: [{name: Nothing}]}}"),
            "profiles[0].plugins.filter.enabled[0].name: Not found: \"Nothing\"",
        ),
        (profile("plugins: {filter: {enabled: [{name: ImageLocality}]}}"), "does not extend filter plugin"),
        (profile("plugins: {queueSort: {disabled: [{name: '*'}]}}"), "only one queue sort plugin required"),
        (profile("plugins: {bind: {disabled: [{name: DefaultBinder}]}}"), "at least one bind plugin is needed"),
        (args("ImageLocality", "{}"), "pluginConfig[0].name: Unsupported value: \"ImageLocality\""),
        (args("InterPodAffinity", "{hardPodAffinityWeight: 101}"), "args.hardPodAffinityWeight: Invalid value: 101"),
        (args("InterPodAffinity", "{kind: NodeAffinityArgs}"), "has to match plugin args: InterPodAffinityArgs"),
        (args("InterPodAffinity", "{weight: 1}"), "unknown field `weight`"),
        (
            args("NodeResourcesFit", "{scoringStrategy: {type: Other}}"),
            "scoringStrategy.type: Unsupported value: \"Other\"",
        ),
        (
            args("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio}}"),
            "shape: Required value: at least one point must be specified",
        ),
        (
            args(
                "NodeResourcesFit",
                "{scoringStrategy: {type: LeastAllocated, resources: [{name: cpu, weight: 101}]}}",
            ),
            "not in valid range [1, 100]",
        ),
        (
            args(
                "PodTopologySpread",
                "{defaultConstraints: [{maxSkew: 0, topologyKey: x, whenUnsatisfiable: ScheduleAnyway}], defaultingType: List}",
            ),
            "maxSkew: Invalid value: 0",
        ),
        (
            args(
                "PodTopologySpread",
                "{defaultConstraints: [{maxSkew: 1, topologyKey: x, whenUnsatisfiable: ScheduleAnyway}]}",
            ),
            "when .defaultingType is System",
        ),
        (
            args("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}"),
            "cannot be zero at the same time",
        ),
        (args("VolumeBinding", "{bindTimeoutSeconds: -1}"), "should not be a negative value"),
    ] {
        let said = refused(&text);
        assert!(said.contains(expected), "{text}\n  says {said}\n  not  {expected}");
    }
    let other = Configuration::parse("apiVersion: v1\nkind: Pod\n").err().unwrap().to_string();
    assert!(other.contains("no kind \"Pod\" is registered for version \"v1\""), "{other}");
    let missing = Configuration::read(Path::new("/nowhere/config.yaml")).err().unwrap().to_string();
    assert!(missing.contains("/nowhere/config.yaml cannot be read"), "{missing}");
}

#[test]
fn arguments_reach_their_plugins() {
    let config = parse(
        "profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      ignoredResources: [gpu.example/x]
      scoringStrategy:
        type: MostAllocated
        resources: [{name: cpu, weight: 3}, {name: gpu.example/y}]
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values: [a]}]}]
  - {name: VolumeBinding, args: {bindTimeoutSeconds: 5}}
  - name: PodTopologySpread
    args:
      defaultingType: List
      defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
",
    )
    .unwrap();
    let profile = profile(&config, "default-scheduler");
    let node = crate::testing::plain("n");
    let pod = crate::testing::asking(serde_json::json!({ "gpu.example/x": "1" }));
    let said: Vec<String> = profile
        .filter
        .iter()
        .filter(|plugin| matches!(plugin.name(), "NodeResourcesFit" | "NodeAffinity"))
        .map(|plugin| crate::testing::said(plugin.filter(&Default::default(), &pod, &node)))
        .collect();
    assert_eq!(said, ["node(s) didn't match scheduler-enforced node affinity!", "fits"]);
}
