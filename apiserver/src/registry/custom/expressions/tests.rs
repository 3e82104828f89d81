//! The numbers are those of upstream: `TestCostEstimation` in `pkg/apiserver/schema/cel/compilation_test.go`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kubelab_api::{
    field::{Errors, Path},
    structural::Schema,
};
use serde_json::{Value, json};

use super::{Rule, bound, check::check, environment};
use crate::{cel::Type, registry::custom::declared};

fn schema(json: Value) -> Schema {
    Schema::new(&serde_json::from_value::<JSONSchemaProps>(json).unwrap())
}

/// What the one rule of a schema costs at most.
fn cost(mut props: Value, rule: &str) -> u64 {
    props["x-kubernetes-validations"] = json!([{ "rule": rule }]);
    let schema = schema(props);
    let kind = declared::of(&schema).unwrap_or(Type::Dyn);
    let (rule, wrong) = Rule::new(&schema.rules[0], &schema, &kind);
    assert!(wrong.is_empty(), "{rule:?}", rule = rule.said.rule);
    rule.program.unwrap().most_expensive(&environment(&rule.said, &kind), &bound::of(&schema).unwrap())
}

fn of_type(name: &str) -> Value {
    match name {
        "int-or-string" => json!({ "x-kubernetes-int-or-string": true }),
        "duration" | "date" | "date-time" | "byte" => json!({ "type": "string", "format": name }),
        name => json!({ "type": name }),
    }
}

fn list(items: &str, most: Option<i64>) -> Value {
    json!({ "type": "array", "items": of_type(items), "maxItems": most })
}

fn map(values: &str, most: Option<i64>) -> Value {
    json!({ "type": "object", "additionalProperties": of_type(values), "maxProperties": most })
}

/// Makes a schema of so many of these at most.
type Maker = fn(&str, Option<i64>) -> Value;

#[test]
fn what_a_rule_costs_follows_from_the_schema() {
    let cases: &[(Maker, &str, &str, i64, u64, u64)] = &[
        (list, "number", "self.all(x, true)", 10, 4_718_591, 32),
        (list, "string", "self.all(x, true)", 20, 3_145_727, 62),
        (list, "boolean", "self.all(x, true)", 5, 1_887_437, 17),
        (list, "int-or-string", "self.all(x, true)", 10, 4_718_591, 32),
        (list, "duration", "self.all(x, true)", 5, 2_359_295, 17),
        (list, "date", "self.all(x, true)", 15, 725_936, 47),
        (list, "date-time", "self.all(x, true)", 25, 428_963, 77),
        (list, "number", "self.all(x, x == 0.0)", 6_291_456, 6_291_454, 25_165_826),
        (list, "number", "self[1] == 0.0", 5_000, 2, 2),
        (list, "string", "self[1] == self[1]", 8, 314_577, 314_577),
        (list, "int-or-string", "self[0] == 5", 10, 3, 3),
        (list, "duration", "self[0].getHours() == 2", 525, 4, 4),
        (map, "number", "self.all(x, true)", 10, 1_348_169, 32),
        (map, "string", "self.all(x, true)", 3, 1_179_647, 11),
        (map, "boolean", "self.all(x, true)", 100, 943_718, 302),
        (map, "date", "self.all(x, true)", 10, 524_288, 32),
        (map, "number", "has(self.x)", 100, 1, 1),
        (map, "number", "self[\"x\"] == 0.0", 0, 2, 2),
        (map, "integer", "oldSelf.size() == self.size()", 10, 5, 5),
        (map, "date-time", "self[\"a\"] == self[\"b\"]", 7, 8, 8),
    ];
    for (make, kind, rule, most, without, with) in cases {
        assert_eq!(cost(make(kind, None), rule), *without, "{kind}: {rule}");
        assert_eq!(cost(make(kind, Some(*most)), rule), *with, "{kind}, at most {most}: {rule}");
    }
    // Loops in loops grow with a power of the bound.
    assert!(cost(list("number", None), "self.all(x, self.all(y, true))") > 1_000_000_000_000);
    assert_eq!(cost(list("number", Some(10)), "self.all(x, self.all(y, true))"), 352);
    assert_eq!(cost(list("number", Some(10)), "self.all(x, self.all(y, self.all(z, true)))"), 3_552);
}

#[test]
fn texts_cost_by_their_length() {
    for (rule, most, without, with) in [
        ("self.contains('test')", 10, 314_574, 5),
        ("self.startsWith('test')", 15, 2, 2),
        ("size(self + \"hello\") > size(\"hello\")", 4, 314_578, 7),
        ("self.matches(\"x\")", 50, 314_574, 22),
        ("\"\".matches(\"(((((((((())))))))))[0-9]\")", 10, 7, 7),
        ("self.matches(\"\")", 100, 1, 1),
        ("self == \"x\"", 0, 2, 1),
        ("self.find('[0-9]+') == ''", 10, 629_147, 11),
        ("self.lowerAscii() == 'lower!'", 10, 314_575, 6),
    ] {
        assert_eq!(cost(json!({ "type": "string" }), rule), without, "{rule}");
        assert_eq!(cost(json!({ "type": "string", "maxLength": most }), rule), with, "{rule}");
    }
    let words = |most: Option<i64>| json!({ "type": "array", "maxItems": most, "items": { "type": "string", "maxLength": most } });
    assert_eq!(cost(words(None), "self.join(' ') == 'aa bb'"), 329_853_068_905);
    assert_eq!(cost(words(Some(10)), "self.join(' ') == 'aa bb'"), 43);
    assert_eq!(cost(words(None), "self.isSorted() == true"), 329_854_432_052);
    assert_eq!(cost(words(Some(10)), "self.isSorted() == true"), 52);
    let text = |most: Option<i64>| {
        let short = |most: i64| json!({ "type": "string", "maxLength": most });
        json!({ "type": "object", "properties": {
            "str": { "type": "string", "maxLength": most }, "separator": { "type": "string", "maxLength": most },
            "before": short(2), "after": short(4),
        }})
    };
    let replace = "self.str.replace(self.before, self.after) == 'does not matter'";
    assert_eq!(cost(text(None), replace), 629_154);
    assert_eq!(cost(text(Some(4)), replace), 12);
    assert_eq!(cost(text(None), "self.str.split(self.separator) == []"), 629_160);
    assert_eq!(cost(text(Some(10)), "self.str.split(self.separator) == []"), 22);
    let values = json!({ "type": "string", "enum": ["A", "B", "C", "LongValue"] });
    assert_eq!(cost(values, "self.contains('A')"), 2);
    assert_eq!(cost(json!({ "x-kubernetes-int-or-string": true }), "isQuantity(self)"), 314_574);
}

#[test]
fn a_definition_that_may_cost_too_much_is_refused() {
    let told = |props: Value, unchanged: bool| {
        let mut errors = Errors::default();
        check(&schema(props), unchanged, &Path::new("schema"), &mut errors);
        errors.0.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let rule = |text: &str| json!([{ "rule": text }]);
    let names = |most: Option<i64>, rule: Value| {
        json!({ "type": "object", "properties": { "names": {
            "type": "array", "maxItems": most, "items": {
                "type": "string", "maxLength": 100, "x-kubernetes-validations": rule,
        }}}})
    };
    let tail = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and \
                strings are declared)";
    let at = "schema.properties[names].items.x-kubernetes-validations[0].rule";
    let costly = rule("self.contains('x')");
    assert_eq!(
        told(names(None, costly.clone()), false),
        [format!("{at}: Forbidden: estimated rule cost exceeds budget by factor of 4.3x {tail}")]
    );
    assert!(told(names(None, costly.clone()), true).is_empty());
    assert!(told(names(Some(1_000), costly), false).is_empty());
    let squared = rule("self.matches(self)");
    assert_eq!(
        told(names(None, squared), false),
        [
            format!("{at}: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {tail}"),
            format!(
                "{at}: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 \
                 schema"
            ),
            format!(
                "schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema \
                 exceeds budget by factor of 43.0x {tail}"
            ),
        ]
    );
}
