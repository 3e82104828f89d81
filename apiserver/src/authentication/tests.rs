//! Certificates and tokens, against a handful of stored objects.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::RwLock};

use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kubelab_api::resource;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::*;
use crate::registry::decode::Validation;

/// Objects, as a store would hold them.
#[derive(Clone, Default)]
struct Objects(Arc<RwLock<BTreeMap<(String, String), Value>>>);

impl Lookup for Objects {
    fn get(&self, topic: &str, name: &str) -> Option<Bytes> {
        let objects = self.0.read().unwrap();
        objects.get(&(topic.to_owned(), name.to_owned())).map(|object| object.to_string().into())
    }
}

impl Objects {
    fn put(&self, topic: &str, name: &str, object: Value) {
        self.0.write().unwrap().insert((topic.to_owned(), name.to_owned()), object);
    }

    fn delete(&self, topic: &str, name: &str) {
        self.0.write().unwrap().remove(&(topic.to_owned(), name.to_owned()));
    }
}

struct World {
    objects: Objects,
    clock: Arc<RwLock<Timestamp>>,
    authenticator: Authenticator,
}

fn world() -> World {
    let objects = Objects::default();
    let named = |name: &str, uid: &str| json!({"metadata": {"name": name, "namespace": "dev", "uid": uid}});
    objects.put("core/serviceaccounts", "dev/robot", named("robot", "sa-1"));
    objects.put("core/secrets", "dev/kept", named("kept", "secret-1"));
    objects.put("core/nodes", "n1", named("n1", "node-1"));
    let mut pod = named("web", "pod-1");
    pod["spec"] = json!({"containers": [], "serviceAccountName": "robot", "nodeName": "n1"});
    objects.put("core/pods", "dev/web", pod);
    let clock = Arc::new(RwLock::new("2030-01-01T00:00:00Z".parse().unwrap()));
    let key = KeyPair::generate().unwrap().serialize_pem();
    let now = {
        let clock = Arc::clone(&clock);
        Box::new(move || *clock.read().unwrap())
    };
    let authenticator =
        Authenticator::new(Keys::from_pem(key.as_bytes(), token::ISSUER).unwrap(), objects.clone(), now);
    World { objects, clock, authenticator }
}

impl World {
    fn issue(&self, spec: Value) -> Result<TokenRequest, String> {
        self.issue_to(None, spec)
    }

    fn issue_to(&self, node: Option<&str>, spec: Value) -> Result<TokenRequest, String> {
        let json = self.objects.get("core/serviceaccounts", "dev/robot").unwrap();
        let account: ServiceAccount = serde_json::from_slice(&json).unwrap();
        let request = TokenRequest { spec: Some(serde_json::from_value(spec).unwrap()), ..TokenRequest::default() };
        let authenticator = &self.authenticator;
        request::issue(authenticator.keys(), authenticator.lookup(), authenticator.now(), &account, request, node)
            .map_err(|error| error.message)
    }

    fn token(&self, spec: Value) -> String {
        self.issue(spec).unwrap().status.unwrap().token.unwrap()
    }

    fn user(&self, token: &str) -> Result<User, u16> {
        self.authenticator.authenticate(None, Some(token)).map_err(|error| error.code())
    }

    fn wait(&self, seconds: i64) {
        let mut clock = self.clock.write().unwrap();
        *clock += jiff::SignedDuration::from_secs(seconds);
    }
}

fn to_pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "pod-1"})
}

#[test]
fn certificates_name_users_and_groups() {
    let world = world();
    let certificate = |name: Option<&str>, organizations: &[&str]| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for organization in organizations {
            params.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        certificate::user_of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    };
    let user = world.authenticator.authenticate(Some(&certificate(Some("jane"), &["dev"])), Some("nonsense")).unwrap();
    assert_eq!((user.name.as_str(), user.groups.join(" ")), ("jane", "dev system:authenticated".into()));
    let nobody = world.authenticator.authenticate(Some(&certificate(None, &["dev"])), None);
    assert_eq!(nobody.map_err(|error| error.message), Err("Unauthorized".into()));
    let garbage =
        world.authenticator.authenticate(Some(&certificate::user_of(&CertificateDer::from(vec![1, 2, 3]))), None);
    assert_eq!(garbage.map_err(|error| error.code()), Err(401));
}

#[test]
fn strangers_can_be_kept_out() {
    let world = world();
    let authenticator = world.authenticator.with_anonymous(false);
    assert_eq!(authenticator.authenticate(None, None).map_err(|error| error.code()), Err(401));
}

#[test]
fn tokens_of_other_kinds_are_for_the_api_alone() {
    let world = world();
    let file = token_file::TokenFile::parse("t1,jane,u1,dev").unwrap();
    let authenticator = world.authenticator.with_tokens(file);
    let user = authenticator.authenticate(None, Some("t1")).unwrap();
    assert_eq!((user.name.as_str(), user.groups.join(" ")), ("jane", "dev system:authenticated".into()));
    assert!(authenticator.user_of_token("t1", &[token::ISSUER.to_owned()]).is_ok());
    assert!(authenticator.user_of_token("t1", &["vault".to_owned()]).is_err());
}

#[test]
fn others_can_verify_tokens_with_the_keys_that_are_published() {
    let world = world();
    let token = world.token(json!({"audiences": ["vault"]}));
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let keys = serde_json::to_value(discovery::jwks(world.authenticator.keys())).unwrap();
    let key = &keys["keys"][0];
    assert_eq!((&key["alg"], &key["kid"]), (&json!("ES256"), &json!(header.kid)));
    let text = |part: &str| key[part].as_str().unwrap().to_owned();
    let decoding = jsonwebtoken::DecodingKey::from_ec_components(&text("x"), &text("y")).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["vault"]);
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(&token, &decoding, &validation).unwrap();
    let about = discovery::configuration(world.authenticator.keys(), "127.0.0.1:6443");
    assert_eq!(about["jwks_uri"], "https://127.0.0.1:6443/openid/v1/jwks");
    assert_eq!(about["issuer"], token::ISSUER);
}

#[test]
fn tokens_of_pods_need_not_last_a_year() {
    let world = world();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let spec = json!({"audiences": [], "expirationSeconds": 3607, "boundObjectRef": to_pod()});
    for (extends, seconds) in [(true, 365 * 24 * 3600), (false, 3607)] {
        let keys = Keys::from_pem(key.as_bytes(), token::ISSUER).unwrap().with_extension(extends);
        let account = world.objects.get("core/serviceaccounts", "dev/robot").unwrap();
        let account: ServiceAccount = serde_json::from_slice(&account).unwrap();
        let request = TokenRequest { spec: serde_json::from_value(spec.clone()).unwrap(), ..TokenRequest::default() };
        let now = world.authenticator.now();
        let issued = request::issue(&keys, &world.objects, now, &account, request, None).unwrap();
        let claims = keys.verify(&issued.status.unwrap().token.unwrap()).unwrap();
        let claims = serde_json::to_value(&claims).unwrap();
        assert_eq!(claims["exp"].as_i64().unwrap() - now.as_second(), seconds);
        assert_eq!(claims["kubernetes.io"].get("warnafter").is_some(), extends);
    }
}

#[test]
fn who_shows_nothing_is_nobody() {
    let user = world().authenticator.authenticate(None, None).unwrap();
    assert_eq!((user.name.as_str(), user.groups), ("system:anonymous", vec!["system:unauthenticated".to_owned()]));
}

#[test]
fn tokens_stand_for_accounts() {
    let world = world();
    let request = world.issue(json!({"audiences": [], "boundObjectRef": to_pod()})).unwrap();
    let status = request.status.unwrap();
    assert_eq!(status.expiration_timestamp.unwrap().0.to_string(), "2030-01-01T01:00:00Z");
    let user = world.user(&status.token.unwrap()).unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:dev:robot", "sa-1"));
    assert_eq!(user.groups.join(" "), "system:serviceaccounts system:serviceaccounts:dev system:authenticated");
    for (key, value) in [("pod-name", "web"), ("pod-uid", "pod-1"), ("node-name", "n1"), ("node-uid", "node-1")] {
        assert_eq!(user.extra[&format!("authentication.kubernetes.io/{key}")], [value]);
    }
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
}

#[test]
fn tokens_end_with_what_they_are_bound_to() {
    let bound = |kind: &str, name: &str| json!({"audiences": [], "boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}});
    for (spec, topic, key) in [
        (json!({"audiences": []}), "core/serviceaccounts", "dev/robot"),
        (bound("Pod", "web"), "core/pods", "dev/web"),
        (bound("Secret", "kept"), "core/secrets", "dev/kept"),
        (bound("Node", "n1"), "core/nodes", "n1"),
    ] {
        let world = world();
        let token = world.token(spec);
        assert!(world.user(&token).is_ok());
        let mut object: Value = serde_json::from_slice(&world.objects.get(topic, key).unwrap()).unwrap();
        world.objects.delete(topic, key);
        assert_eq!(world.user(&token), Err(401), "{topic} is gone");
        object["metadata"]["uid"] = "another".into();
        world.objects.put(topic, key, object.clone());
        assert_eq!(world.user(&token), Err(401), "{topic} is another one");
    }
    let world = world();
    let token = world.token(bound("Pod", "web"));
    world.objects.delete("core/nodes", "n1");
    assert!(world.user(&token).is_ok(), "the pod's node does not matter");
    let mut pod: Value = serde_json::from_slice(&world.objects.get("core/pods", "dev/web").unwrap()).unwrap();
    pod["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z".into();
    world.objects.put("core/pods", "dev/web", pod);
    world.wait(30);
    assert!(world.user(&token).is_ok(), "it may still finish");
    world.wait(31);
    assert_eq!(world.user(&token), Err(401));
}

#[test]
fn tokens_expire() {
    let world = world();
    let token = world.token(json!({"audiences": [], "expirationSeconds": 600}));
    world.wait(660);
    assert!(world.user(&token).is_ok());
    world.wait(1);
    assert_eq!(world.user(&token), Err(401));
    world.wait(-3600);
    assert_eq!(world.user(&token), Err(401), "not valid yet");
    let world = self::world();
    let long = world.issue(json!({"audiences": [], "expirationSeconds": 3607, "boundObjectRef": to_pod()})).unwrap();
    world.wait(86_400);
    assert!(world.user(&long.status.unwrap().token.unwrap()).is_ok(), "a kubelet's token goes on for a year");
}

#[test]
fn tokens_that_are_not_ours_are_refused() {
    let (world, other) = (world(), world());
    let foreign = other.token(json!({"audiences": []}));
    let own = world.token(json!({"audiences": []}));
    let (head, signature) = own.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    let elsewhere = world.token(json!({"audiences": ["vault"]}));
    let none = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50Iiwic3ViIjoieCJ9.";
    for token in ["", "nonsense", "a.b.c", none, &foreign, &forged, &elsewhere] {
        assert_eq!(world.user(token), Err(401), "{token}");
    }
    assert!(world.user(&own).is_ok());
}

#[test]
fn legacy_tokens_are_as_good_as_their_secret() {
    let world = world();
    let account = token::Reference { name: "robot".into(), uid: "sa-1".into() };
    let token = world.authenticator.keys().sign(&Claims::legacy("dev", &account, "kept")).unwrap();
    assert_eq!(world.user(&token), Err(401), "the secret does not hold it");
    let data = k8s_openapi::ByteString(token.clone().into_bytes());
    let secret = json!({"metadata": {"name": "kept", "namespace": "dev"}, "data": {"token": data}});
    world.objects.put("core/secrets", "dev/kept", secret);
    assert_eq!(world.user(&token).unwrap().name, "system:serviceaccount:dev:robot");
}

#[test]
fn token_requests_are_checked() {
    let world = world();
    let bound = |reference: Value| json!({"audiences": [], "boundObjectRef": reference});
    for (spec, why) in [
        (
            json!({"audiences": [], "expirationSeconds": 5}),
            "TokenRequest.authentication.k8s.io \"robot\" is invalid: spec.expirationSeconds: Invalid value: 5: may not \
             specify a duration less than 10 minutes",
        ),
        (bound(json!({"apiVersion": "v1", "kind": "Pod", "name": "gone"})), "pods \"gone\" not found"),
        (
            bound(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"})),
            "cannot bind token to object of type apps/v1, Kind=Deployment",
        ),
        (
            bound(json!({"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "old"})),
            "Operation cannot be fulfilled on Pod \"web\": the UID in the bound object reference (old) does not match the \
             UID in record. The object might have been deleted and then recreated",
        ),
    ] {
        assert_eq!(world.issue(spec).map(|_| ()), Err(why.to_owned()));
    }
    world.objects.put(
        "core/pods",
        "dev/web",
        json!({"metadata": {}, "spec": {"containers": [], "serviceAccountName": "x"}}),
    );
    assert_eq!(
        world.issue(bound(to_pod())).map(|_| ()),
        Err("cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name.".into())
    );
}

#[test]
fn kubelets_get_tokens_for_their_own_pods() {
    let world = world();
    let to_pod = json!({"audiences": [], "boundObjectRef": to_pod()});
    assert!(world.issue_to(Some("n1"), to_pod.clone()).is_ok());
    let refused = |why: &str| Err(format!("serviceaccounts \"robot\" is forbidden: {why}"));
    assert_eq!(
        world.issue_to(Some("n2"), to_pod).map(|_| ()),
        refused("node requested token bound to a pod scheduled on a different node")
    );
    assert_eq!(
        world.issue_to(Some("n1"), json!({"audiences": []})).map(|_| ()),
        refused("node requested token not bound to a pod")
    );
}

#[test]
fn reviews_tell_who_somebody_is() {
    let world = world();
    let ask = |kind: &str, spec: Value| {
        let jane = User { name: "jane".into(), groups: vec!["dev".into()], ..User::default() };
        let body = json!({"spec": spec}).to_string();
        let (resource, strict) = (resource::named(kind).unwrap(), Validation::Strict);
        let answer = review::answer(&world.authenticator, &jane, resource, body.as_bytes(), strict);
        let (answer, _) = answer.map_err(|error| error.message)?;
        Ok::<_, String>(serde_json::from_slice::<Value>(&answer).unwrap()["status"].clone())
    };
    assert_eq!(ask("SelfSubjectReview", json!({})), Ok(json!({"userInfo": {"username": "jane", "groups": ["dev"]}})));
    let token = world.token(json!({"audiences": ["vault", "other"]}));
    let status = ask("TokenReview", json!({"token": token, "audiences": ["vault"]})).unwrap();
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:dev:robot");
    let status = ask("TokenReview", json!({"token": token})).unwrap();
    assert_eq!(status["authenticated"], Value::Null);
    assert!(status["error"].as_str().unwrap().contains("is invalid for the target audiences"), "{status}");
    assert_eq!(ask("TokenReview", json!({})), Err("token is required for TokenReview in authentication".into()));
}
