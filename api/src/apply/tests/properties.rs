//! What holds for all objects.

use proptest::{collection, prelude::*};
use serde_json::Map;

use super::*;
use crate::patch::{merge as merge_patch, strategic};

/// A configuration of a Deployment that sets some of a few fields.
fn config() -> impl Strategy<Value = Value> {
    let labels = collection::btree_map("[abc]", "[xy]", 0..3);
    let ports = collection::btree_map(1u16..4, "[pq]", 0..3);
    let containers = collection::btree_map("[cde]", (proptest::option::of("[ij]"), ports), 0..3);
    (labels, proptest::option::of(0..3i32), containers).prop_map(|(labels, replicas, containers)| {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
        if !labels.is_empty() {
            object["metadata"] = json!({"labels": labels});
        }
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = replicas.into();
        }
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (image, ports))| {
                let mut container = json!({"name": name});
                if let Some(image) = image {
                    container["image"] = image.into();
                }
                if !ports.is_empty() {
                    let port = |(port, name): (u16, String)| json!({"containerPort": port, "name": name});
                    container["ports"] = ports.into_iter().map(port).collect();
                }
                container
            })
            .collect();
        if !containers.is_empty() {
            object["spec"]["template"]["spec"]["containers"] = containers.into();
        }
        object
    })
}

fn fields() -> impl Strategy<Value = Value> {
    let key = prop_oneof!["f:[a-c]", "k:\\{\"name\":\"[a-c]\"\\}", "v:[1-3]", "v:\"[ab]\"", "i:[0-3]"];
    let leaf = Just(json!({}));
    leaf.prop_recursive(4, 24, 4, move |inner| {
        (collection::btree_map(key.clone(), inner, 1..4), any::<bool>()).prop_map(|(below, member)| {
            let mut fields: Map<String, Value> = below.into_iter().collect();
            if member {
                fields.insert(".".into(), json!({}));
            }
            Value::Object(fields)
        })
    })
}

fn without_times(managers: &[Manager]) -> Vec<Manager> {
    let mut managers = managers.to_vec();
    managers.iter_mut().for_each(|manager| manager.time = None);
    managers.sort_by(|a, b| a.identity.name.cmp(&b.identity.name));
    managers
}

/// JSON of a bounded depth.
fn json_object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..4i32).prop_map(Value::from)];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            collection::btree_map("[abc]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn fields_v1_keeps_everything(fields in fields()) {
        // The top of an object is nobody's.
        let mut fields = fields;
        fields.as_object_mut().unwrap().remove(".");
        let set = fields_v1::decode(&fields).unwrap();
        prop_assert_eq!(fields_v1::decode(&fields_v1::encode(&set)).unwrap(), set);
    }

    #[test]
    fn sets_keep_the_laws(a in fields(), b in fields()) {
        let (a, b) = (fields_v1::decode(&a).unwrap(), fields_v1::decode(&b).unwrap());
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.union(&a), a);
    }

    #[test]
    fn to_apply_twice_is_to_apply_once(before in config(), config in config()) {
        let mut object = Object::new("deploy");
        object.apply("other", "", &before, false).unwrap();
        object.apply("me", "", &config, true).unwrap();
        let (live, managers) = (object.live.clone(), object.managers.clone());
        object.apply("me", "", &config, false).unwrap();
        prop_assert_eq!(&object.live, &live);
        prop_assert_eq!(object.managers, managers, "nothing changed, so the times stay");
    }

    #[test]
    fn what_is_applied_is_there(before in config(), config in config()) {
        let mut object = Object::new("deploy");
        object.update("other", "", before);
        object.apply("me", "", &config, true).unwrap();
        let schema = object.schema.clone();
        let merged = merge::merge(object.live.as_ref().unwrap(), &config, &schema).unwrap();
        prop_assert!(element::equal(&merged, object.live.as_ref().unwrap()));
    }

    #[test]
    fn to_give_everything_up_removes_it(first in config(), config in config()) {
        let mut object = Object::new("deploy");
        object.apply("other", "", &first, false).unwrap();
        let live = object.live.clone();
        let conflict = object.apply("me", "", &config, false).is_err();
        prop_assume!(!conflict);
        object.apply("me", "", &json!({"apiVersion": "apps/v1", "kind": "Deployment"}), false).unwrap();
        // What was empty before may be gone now, and what has no owner is nobody's loss.
        let left = typed::field_set(object.live.as_ref().unwrap(), &object.schema);
        let owned = without_times(&object.managers).iter().fold(Set::default(), |all, one| all.union(&one.fields));
        let first = typed::field_set(live.as_ref().unwrap(), &object.schema);
        prop_assert!(left.difference(&first).is_empty(), "{:?}", left.difference(&first).paths());
        prop_assert!(owned.difference(&left).is_empty());
    }

    #[test]
    fn managers_of_different_fields_do_not_care_who_comes_first(
        a in collection::btree_map("[a-c]", "[xy]", 0..3), b in collection::btree_map("[d-f]", "[xy]", 0..3)
    ) {
        let config = |data: &std::collections::BTreeMap<String, String>| json!({"kind": "ConfigMap", "data": data});
        let in_order = |order: [(&str, Value); 2]| {
            let mut object = Object::new("cm");
            for (name, config) in order {
                object.apply(name, "", &config, false).unwrap();
            }
            (object.live, without_times(&object.managers))
        };
        let (one, two) = (("a", config(&a)), ("b", config(&b)));
        prop_assert_eq!(in_order([one.clone(), two.clone()]), in_order([two, one]));
    }

    #[test]
    fn a_comparison_tells_all(old in config(), new in config()) {
        let schema = Object::new("deploy").schema;
        let comparison = compare::compare(Some(&old), &new, &schema).unwrap();
        prop_assert_eq!(comparison == compare::Comparison::default(), element::equal(&old, &new));
        let (was, is) = (typed::field_set(&old, &schema), typed::field_set(&new, &schema));
        prop_assert!(is.difference(&was).difference(&comparison.added).is_empty());
        prop_assert!(was.difference(&is).difference(&comparison.removed).is_empty());
    }

    #[test]
    fn to_merge_a_patch_twice_is_to_merge_it_once(target in json_object(), patch in json_object()) {
        let mut once = target;
        merge_patch(&mut once, &patch);
        let mut twice = once.clone();
        merge_patch(&mut twice, &patch);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn to_merge_strategically_twice_is_to_merge_once(original in config(), patch in config()) {
        let schema = Object::new("deploy").schema;
        let once = strategic::apply(original, patch.clone(), &schema).unwrap();
        prop_assert_eq!(&strategic::apply(once.clone(), patch, &schema).unwrap(), &once);
    }
}
