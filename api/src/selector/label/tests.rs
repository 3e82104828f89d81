//! Table and property tests of label selectors.
#![allow(clippy::unwrap_used)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use proptest::prelude::*;

use super::*;

fn labels(text: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.split(',').filter_map(pair).collect()
}

#[test]
fn selectors_print_canonically() {
    for (text, canonical) in [
        ("", ""),
        ("  ", ""),
        ("a", "a"),
        ("!a", "!a"),
        ("a=1", "a=1"),
        ("a==1", "a==1"),
        ("a = 1 , b != 2", "a=1,b!=2"),
        ("b,a", "a,b"),
        ("x=", "x="),
        ("x=,z=1", "x=,z=1"),
        ("x in (c,a,b,a)", "x in (a,b,c)"),
        ("x notin (foo,,baz)", "x notin (,baz,foo)"),
        ("x in ()", "x in ()"),
        ("x in (,)", "x in ()"),
        ("in in (in,notin)", "in in (in,notin)"),
        ("in=notin", "in=notin"),
        ("a>1,b<3", "a>1,b<3"),
        ("example.com/a-b in (x)", "example.com/a-b in (x)"),
    ] {
        let selector: Selector = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(selector.to_string(), canonical, "{text:?}");
    }
}

#[test]
fn nonsense_is_refused_in_upstreams_words() {
    for (text, why) in [
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a=1 b", "found 'b', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in x", "unable to parse requirement: found 'x' expected: '('"),
        ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value \
             must be an integer",
        ),
        (
            "a=-",
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty \
             string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        ("/a", "unable to parse requirement: <nil>: Invalid value: \"/a\": prefix part must be non-empty"),
    ] {
        assert_eq!(text.parse::<Selector>(), Err(Error(why.to_owned())), "{text:?}");
    }
}

#[test]
fn selectors_select() {
    for (selector, object, selected) in [
        ("", "", true),
        ("a=1", "a=1,b=2", true),
        ("a=1", "a=2", false),
        ("a=1", "", false),
        ("a!=1", "", true),
        ("a!=1", "a=1", false),
        ("a in (1,2)", "a=2", true),
        ("a in (1,2)", "a=3", false),
        ("a notin (1,2)", "b=1", true),
        ("a", "a=", true),
        ("!a", "a=", false),
        ("a>1", "a=2", true),
        ("a>1", "a=x", false),
        ("a<1", "a=1", false),
        ("a=", "a=", true),
        ("a=", "", false),
    ] {
        let parsed: Selector = selector.parse().unwrap();
        assert_eq!(parsed.matches(Some(&labels(object))), selected, "{selector:?} on {object:?}");
    }
    assert!(!Selector::Nothing.matches(None));
}

fn typed(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels("app=web")),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
        }]),
    }
}

#[test]
fn typed_selectors_are_the_same_thing() {
    assert_eq!(Selector::from_typed(None), Ok(Selector::Nothing));
    assert_eq!(Selector::from_typed(Some(&LabelSelector::default())), Ok(Selector::everything()));
    let selector = Selector::from_typed(Some(&typed("tier", "In", &["b", "a"]))).unwrap();
    assert_eq!(selector.to_string(), "app=web,tier in (a,b)");
    assert_eq!(selector.exact("app"), Some("web"));
    assert_eq!(selector.exact("tier"), None);
    let why = Selector::from_typed(Some(&typed("tier", "Near", &[]))).unwrap_err();
    assert_eq!(why.to_string(), "\"Near\" is not a valid label selector operator");
}

#[test]
fn typed_selectors_are_validated() {
    for (selector, why) in [
        (typed("a", "In", &["x"]), ""),
        (
            typed("a", "In", &[]),
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' \
             or 'NotIn'",
        ),
        (
            typed("a", "Exists", &["x"]),
            "spec.selector.matchExpressions[0].values: Forbidden: may not be specified when `operator` is \
             'Exists' or 'DoesNotExist'",
        ),
        (
            typed("a", "Near", &["x"]),
            "spec.selector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator",
        ),
    ] {
        let mut errors = Errors::default();
        validate(&selector, &Path::new("spec").child("selector"), &mut errors);
        assert_eq!(if errors.is_empty() { String::new() } else { errors.to_string() }, why);
    }
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "in", "notin", "x.y", "1"]).prop_map(str::to_owned)
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let one = (word(), word(), 0..3u8).prop_map(|(key, value, operator)| {
        let operator = [Operator::Equals, Operator::DoubleEquals, Operator::NotEquals][usize::from(operator)];
        Requirement::new(&key, operator, vec![value]).unwrap()
    });
    let set = (word(), prop::collection::vec(word(), 1..4), any::<bool>()).prop_map(|(key, values, positive)| {
        Requirement::new(&key, if positive { Operator::In } else { Operator::NotIn }, values).unwrap()
    });
    let presence = (word(), any::<bool>()).prop_map(|(key, positive)| {
        let operator = if positive { Operator::Exists } else { Operator::DoesNotExist };
        Requirement::new(&key, operator, Vec::new()).unwrap()
    });
    prop_oneof![one, set, presence]
}

/// What the documentation says that each operator means, on sets of pairs.
fn model(requirement: &Requirement, labels: &BTreeMap<String, String>) -> bool {
    let any_pair =
        requirement.values.iter().any(|value| labels.iter().any(|(k, v)| *k == requirement.key && v == value));
    let present = labels.keys().any(|key| *key == requirement.key);
    match requirement.operator {
        Operator::Equals | Operator::DoubleEquals | Operator::In => any_pair,
        Operator::NotEquals | Operator::NotIn => !any_pair,
        Operator::Exists => present,
        Operator::DoesNotExist => !present,
        Operator::GreaterThan | Operator::LessThan => unreachable!("not generated"),
    }
}

proptest! {
    #[test]
    fn printed_selectors_parse_to_themselves(requirements in prop::collection::vec(requirement(), 0..5)) {
        let selector = Selector::new(requirements);
        prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
    }

    #[test]
    fn matching_agrees_with_the_model(
        requirements in prop::collection::vec(requirement(), 0..4),
        labels in prop::collection::btree_map(word(), word(), 0..4),
    ) {
        let expected = requirements.iter().all(|requirement| model(requirement, &labels));
        prop_assert_eq!(Selector::new(requirements).matches(Some(&labels)), expected);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[ab=!(),<> in\\PC]{0,24}") {
        let _ = text.parse::<Selector>();
    }
}
