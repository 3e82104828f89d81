//! The file as it is written. Fields that mean nothing here (how to reach the apiserver, leader election: those are flags)
//! are accepted, so that a file for upstream's scheduler can be used as it is.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Document {
    pub api_version: String,
    pub kind: String,
    pub parallelism: Option<i64>,
    pub percentage_of_nodes_to_score: Option<i64>,
    pub pod_initial_backoff_seconds: Option<i64>,
    pub pod_max_backoff_seconds: Option<i64>,
    pub profiles: Vec<ProfileDocument>,
    pub extenders: Vec<Value>,
    #[serde(rename = "leaderElection")]
    pub _leader_election: Option<Value>,
    #[serde(rename = "clientConnection")]
    pub _client_connection: Option<Value>,
    #[serde(rename = "enableProfiling")]
    pub _enable_profiling: Option<bool>,
    #[serde(rename = "enableContentionProfiling")]
    pub _enable_contention_profiling: Option<bool>,
    #[serde(rename = "delayCacheUntilActive")]
    pub _delay_cache_until_active: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProfileDocument {
    pub scheduler_name: Option<String>,
    pub percentage_of_nodes_to_score: Option<i64>,
    pub plugins: Plugins,
    pub plugin_config: Vec<PluginConfig>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Plugins {
    pub multi_point: PluginSet,
    pub pre_enqueue: PluginSet,
    pub queue_sort: PluginSet,
    pub pre_filter: PluginSet,
    pub filter: PluginSet,
    pub post_filter: PluginSet,
    pub pre_score: PluginSet,
    pub score: PluginSet,
    pub reserve: PluginSet,
    pub permit: PluginSet,
    pub pre_bind: PluginSet,
    pub bind: PluginSet,
    pub post_bind: PluginSet,
}

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginSet {
    pub enabled: Vec<PluginDocument>,
    pub disabled: Vec<PluginDocument>,
}

#[derive(Deserialize, Default, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginDocument {
    pub name: String,
    pub weight: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginConfig {
    pub name: String,
    pub args: Value,
}

impl PluginSet {
    /// The default or added plugin `name` is not to run.
    pub fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|disabled| disabled.name == name || disabled.name == "*")
    }
}
