//! What a cron job's jobs look like. Source: `getJobFromTemplate2` in Kubernetes.

use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{meta::controller_reference, well_known::annotation::CRON_JOB_SCHEDULED_TIMESTAMP};

/// The name of the job for a time: always the same, so that it is made once.
pub fn name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron.metadata.name.as_deref().unwrap_or_default(), at.as_second() / 60)
}

/// The job for a time.
pub fn job(cron: &CronJob, at: Timestamp, zone: &TimeZone) -> Job {
    let template = &cron.spec.job_template;
    let meta = template.metadata.clone().unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(CRON_JOB_SCHEDULED_TIMESTAMP.into(), rfc3339(at, zone));
    Job {
        metadata: ObjectMeta {
            namespace: cron.metadata.namespace.clone(),
            name: Some(name(cron, at)),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..Default::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    match local.offset().seconds() {
        0 => local.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        _ => local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_named_after_its_minute() {
        let cron: CronJob = serde_json::from_value(json!({
            "metadata": {"name": "backup", "namespace": "ns", "uid": "u"},
            "spec": {"schedule": "0 2 * * *", "jobTemplate": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                "spec": {"backoffLimit": 2, "template": {}}}},
        }))
        .unwrap();
        let at: Timestamp = "2026-11-20T02:00:00Z".parse().unwrap();
        let made = serde_json::to_value(job(&cron, at, &TimeZone::get("Asia/Seoul").unwrap())).unwrap();
        let meta = &made["metadata"];
        assert_eq!(meta["name"], "backup-29919000");
        assert_eq!(meta["labels"], json!({"a": "b"}));
        assert_eq!(
            meta["annotations"],
            json!({"batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-11-20T11:00:00+09:00", "c": "d"})
        );
        assert_eq!(meta["ownerReferences"][0]["kind"], "CronJob");
        assert_eq!(made["spec"]["backoffLimit"], 2);
        assert_eq!(rfc3339(at, &TimeZone::UTC), "2026-11-20T02:00:00Z");
    }
}
