//! The life of a record, from a request to the lines of the log.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use kubelab_api::Error;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{event::Stage, log::Place, record::Ending, *};
use crate::corridor::Body;

struct World {
    folder: TempDir,
    audit: Arc<Audit>,
    headers: HeaderMap,
    jane: User,
}

fn world(rule: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let policy = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{rule}]");
    let place = Place { path: folder.path().join("audit.log"), max_bytes: 1 << 20, max_backups: 1, max_days: 0 };
    let audit = Arc::new(Audit::new(Policy::parse(&policy).unwrap(), Log::open(place).unwrap()));
    let mut headers = HeaderMap::new();
    for (name, value) in [("user-agent", "kubectl/v1.33.1"), ("x-forwarded-for", "10.0.0.1, 10.0.0.2, what")] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let extra = BTreeMap::from([("scopes".to_owned(), vec!["a".to_owned()])]);
    World {
        folder,
        audit,
        headers,
        jane: User { name: "jane".into(), groups: vec!["dev".into()], extra, uid: String::new() },
    }
}

impl World {
    fn begin(&self, user: Option<&User>, verb: &str, long: bool) -> Option<Arc<Record>> {
        let attributes =
            Attributes { namespace: "dev", ..Attributes::resource(&self.jane, verb, "apps", "deployments") };
        self.audit.begin(Seen {
            id: "id-1".into(),
            uri: "/apis/apps/v1/namespaces/dev/deployments?x=y".into(),
            headers: &self.headers,
            peer: Some([127, 0, 0, 1].into()),
            attributes,
            version: "v1",
            user,
            long,
        })
    }

    fn lines(&self) -> Vec<Value> {
        self.audit.log().flush();
        let text = fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const WEB: &str = r#"{
  "kind": "Deployment",
  "metadata": {"name": "web", "managedFields": [{}], "resourceVersion": "7"}
}"#;

#[tokio::test]
async fn a_request_leaves_a_line_for_each_stage() {
    let world = world("{level: RequestResponse, omitManagedFields: true}");
    let record = world.begin(Some(&world.jane), "create", false).unwrap();
    within(Some(&record), async {
        annotate("authorization.k8s.io/decision", || "allow".into());
        annotate("authorization.k8s.io/decision", || "forbid".into());
        current().unwrap().sent(&Body::Json(Bytes::from_static(WEB.as_bytes())));
        current().unwrap().acts_as(&User { name: "joe".into(), ..User::default() });
    })
    .await;
    record.answered(Some(br#"{"items":[{"metadata":{"name":"a","managedFields":[]}}]}"#));
    record.code(201);
    drop(Ending(record));

    let mut lines = world.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for time in ["requestReceivedTimestamp", "stageTimestamp"] {
            let text = line.remove(time).unwrap();
            let text = text.as_str().unwrap();
            assert!(text.len() == "2026-11-27T10:00:00.123456Z".len() && text.ends_with('Z'), "{text}");
        }
    }
    let about = json!({"resource": "deployments", "namespace": "dev", "apiGroup": "apps", "apiVersion": "v1"});
    let received = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": "id-1",
        "stage": "RequestReceived",
        "requestURI": "/apis/apps/v1/namespaces/dev/deployments?x=y",
        "verb": "create",
        "user": {"username": "jane", "groups": ["dev"], "extra": {"scopes": ["a"]}},
        "sourceIPs": ["10.0.0.1", "10.0.0.2", "127.0.0.1"],
        "userAgent": "kubectl/v1.33.1",
        "objectRef": about,
    });
    assert_eq!(lines[0], received);
    let mut complete = received;
    complete["stage"] = "ResponseComplete".into();
    complete["impersonatedUser"] = json!({"username": "joe"});
    complete["objectRef"]["name"] = "web".into();
    complete["objectRef"]["resourceVersion"] = "7".into();
    complete["requestObject"] = json!({"kind": "Deployment", "metadata": {"name": "web", "resourceVersion": "7"}});
    complete["responseObject"] = json!({"items": [{"metadata": {"name": "a"}}]});
    complete["responseStatus"] = json!({"metadata": {}, "code": 201});
    complete["annotations"] = json!({"authorization.k8s.io/decision": "allow"});
    assert_eq!(lines[1], complete);
}

#[tokio::test]
async fn levels_say_how_much_is_kept() {
    for (level, request, response) in
        [("Metadata", false, false), ("Request", true, false), ("RequestResponse", true, true)]
    {
        let world = world(&format!("{{level: {level}, omitStages: [RequestReceived]}}"));
        let record = world.begin(Some(&world.jane), "patch", false).unwrap();
        let patch = Bytes::from_static(b"{\n\"metadata\": {\"name\": \"other\"}}");
        record.sent(&Body::Patch { media_type: "application/merge-patch+json".into(), patch });
        record.answered(Some(b"{}"));
        record.tell(Stage::ResponseComplete);
        let lines = world.lines();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].get("requestObject").is_some(), request, "{level}");
        assert_eq!(lines[0].get("responseObject").is_some(), response, "{level}");
        assert_eq!(lines[0]["objectRef"].get("name"), None, "a patch names nothing");
    }
}

#[tokio::test]
async fn refusals_tell_why_and_strangers_have_no_name() {
    let world = world("{level: Metadata}");
    assert!(world.begin(None, "list", false).is_some(), "a rule for all is for strangers, too");
    let record = world.begin(None, "list", false).unwrap();
    record.refused(&Error::unauthorized());
    record.code(401);
    record.tell(Stage::ResponseStarted);
    let lines = world.lines();
    assert_eq!(lines.len(), 1, "what strangers ask is told once it is refused");
    assert_eq!((&lines[0]["user"], &lines[0]["stage"]), (&json!({}), &json!("ResponseStarted")));
    assert_eq!(
        lines[0]["responseStatus"],
        json!({"metadata": {}, "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401})
    );
}

#[tokio::test]
async fn what_the_policy_leaves_out_costs_nothing() {
    let world = world("{level: None, verbs: [get]}, {level: Metadata, userGroups: [ops]}");
    assert!(world.begin(Some(&world.jane), "get", false).is_none());
    assert!(world.begin(Some(&world.jane), "list", false).is_none());
    within(None, async { assert!(current().is_none()) }).await;
    annotate("x", || unreachable!("nobody records this"));
    assert_eq!(world.lines().len(), 0);
}

#[test]
fn long_user_agents_are_cut() {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_str(&"x".repeat(2000)).unwrap());
    let agent = user_agent(&headers);
    assert_eq!(agent.len(), AGENT_BYTES + "...TRUNCATED".len());
    assert!(agent.ends_with("...TRUNCATED"));
}
