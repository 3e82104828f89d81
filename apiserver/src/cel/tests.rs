//! Expressions and what they come to, or why not.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::json;

use super::{
    authority::{Authority, Question, Verdict},
    *,
};

struct Reader;

impl Authority for Reader {
    fn decide(&self, question: &Question) -> Verdict {
        let allowed = &*question.verb == "get" && question.path.is_none();
        Verdict { allowed, reason: format!("{} {}", question.verb, question.resource) }
    }
}

fn environment() -> Environment {
    let pod = ObjectType::new("Pod", [("name", Type::String), ("count", Type::Int), ("at", Type::Timestamp)]);
    Environment::new()
        .with("object", Type::Dyn)
        .with("self", Type::object(pod))
        .with("authorizer", Type::Named("kubernetes.authorization.Authorizer".into()))
        .with("authorizer.requestResource", Type::Named("kubernetes.authorization.ResourceCheck".into()))
        .with_mutations()
}

fn evaluate(text: &str) -> Result<String, String> {
    let environment = environment();
    let program = environment.compile(text).map_err(|error| error.to_string())?;
    let object = json!({
        "metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}},
        "spec": {"replicas": 3, "ratio": 0.5, "containers": [{"name": "a"}, {"name": "b", "image": "nginx:1"}]},
    });
    let typed = json!({"name": "x", "count": 2, "at": "2026-01-02T03:04:05Z"});
    let authority: Arc<dyn Authority> = Arc::new(Reader);
    let question = Question { resource: "pods".into(), ..Question::default() };
    let variables = [
        ("object", Value::from_json(&object)),
        ("self", Value::from_typed_json(&typed, environment.variable("self").unwrap())),
        ("authorizer", Value::authorizer(Arc::clone(&authority))),
        ("authorizer.requestResource", Value::resource_check(authority, question)),
    ];
    let mut budget = Budget::new(RUNTIME_BUDGET);
    let found = program.evaluate(&Activation::new(&variables), &mut budget);
    found.map(|value| format!("{value:?}")).map_err(|failure| failure.to_string())
}

#[test]
fn expressions_have_values() {
    for (text, value) in [
        ("1 + 2 * 3 - -4 % 3", "8"),
        ("7u / 2u", "3u"),
        ("1.5 * 2.0", "3.0"),
        ("'a' + \"b\" + r'\\n' + '\\u00e9'", "\"ab\\\\né\""),
        ("b'\\xff' == b'\\377'", "true"),
        ("'''x\ny'''.size()", "3"),
        ("[1, 2] + [3]", "[1, 2, 3]"),
        ("{'a': 1}['a'] == 1 && 'a' in {'a': 2}", "true"),
        ("1 < 1.5 && 2u > 1", "true"),
        ("false || (1 / 0 > 0) || true", "true"),
        ("true ? 'y' : 'n'", "\"y\""),
        ("object.spec.replicas", "3"),
        ("has(object.spec.missing) || has(object.metadata.name)", "true"),
        ("object.?spec.?missing.orValue(7)", "7"),
        ("object.spec[?'replicas'].optMap(r, r + 1).value()", "4"),
        ("optional.none().hasValue()", "false"),
        ("[?object.?nope, ?object.spec.?replicas]", "[3]"),
        ("object.spec.containers.all(c, c.name != 'z')", "true"),
        ("object.spec.containers.exists(c, has(c.image) && c.image.startsWith('nginx'))", "true"),
        ("object.spec.containers.exists(c, c.image == 'nginx:1')", "true"),
        ("object.spec.containers.exists_one(c, c.name == 'b')", "true"),
        ("object.spec.containers.map(c, c.name)", "[\"a\", \"b\"]"),
        ("[1, 2, 3].map(x, x > 1, x * 2)", "[4, 6]"),
        ("[1, 2, 3].filter(x, x != 2)", "[1, 3]"),
        ("object.metadata.labels.all(k, k.size() > 2)", "true"),
        ("object.metadata.labels.exists(k, v, k == v + '')", "false"),
        ("[10, 20].transformList(i, v, i + v)", "[10, 21]"),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 10)", "{\"b\": 20}"),
        ("{'a': 1}.transformMapEntry(k, v, {string(v): k})", "{\"1\": \"a\"}"),
        ("['b', 'a'].sort() == ['a', 'b'] && [3, 1].sortBy(x, -x) == [3, 1]", "true"),
        ("[[1], [2, 3]].flatten().reverse().distinct()", "[3, 2, 1]"),
        ("[1, 2, 3].sum() + [4, 9].max() + lists.range(3).size()", "18"),
        ("sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])", "true"),
        ("'a,b,c'.split(',').join('-')", "\"a-b-c\""),
        ("'héllo'.charAt(1) + 'héllo'.substring(2, 4) + string('héllo'.indexOf('l'))", "\"éll2\""),
        ("'abab'.lastIndexOf('ab') == 2 && 'abab'.replace('ab', 'x', 1) == 'xab'", "true"),
        ("'AbC'.lowerAscii() + ' x '.trim()", "\"abcx\""),
        ("'web-42'.matches('^[a-z]+-[0-9]+$')", "true"),
        ("'abc 123'.find('[0-9]+') + 'a1b2'.findAll('[0-9]')[1]", "\"1232\""),
        (r"'é1'.matches('^\\w+$') || 'a_1 '.find('[\\w]+\\s') == ''", "false"),
        ("'%s has %d of %.1f'.format([dyn('x'), 3, 2.55])", "\"x has 3 of 2.5\""),
        ("int('42') + int(3.9) + int(true ? 1u : 2u)", "46"),
        ("string(1.0) + string(true) + string(duration('90m'))", "\"1true5400s\""),
        ("double('1.5') == 1.5 && uint(3) == 3u && bool('true')", "true"),
        ("type(1) == int && type('') == string", "true"),
        ("timestamp('2026-01-02T03:04:05Z').getFullYear()", "2026"),
        ("self.at.getDayOfWeek('Europe/Berlin') == 5 && self.at + duration('1h') > self.at", "true"),
        ("duration('1h30m').getMinutes()", "90"),
        ("quantity('1Gi').isGreaterThan(quantity('500Mi'))", "true"),
        ("quantity('2').add(3).asInteger()", "5"),
        ("isQuantity('x') || isSemver('1.2.3')", "true"),
        ("semver('1.2.3').compareTo(semver('1.10.0'))", "-1"),
        ("url('https://example.com:8080/a?b=c').getHost()", "\"example.com:8080\""),
        ("ip('127.0.0.1').isLoopback() && cidr('10.0.0.0/8').containsIP('10.1.2.3')", "true"),
        ("format.dns1123Label().validate('Not Good').hasValue()", "true"),
        ("!format.dns1123Label().validate('good').hasValue()", "true"),
        ("authorizer.group('').resource('pods').namespace('a').check('get').allowed()", "true"),
        ("authorizer.requestResource.check('delete').reason()", "\"delete pods\""),
        ("authorizer.path('/healthz').check('get').allowed()", "false"),
        ("Object{spec: Object.spec{replicas: 2, ?paused: optional.none()}}", "{\"spec\": {\"replicas\": 2}}"),
        ("[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: 1}][0].path", "\"/a/b~1c\""),
        ("[1, 2].map(x, [3].map(y, x * y))", "[[3], [6]]"),
        ("{1: 'a'}[dyn(1u)]", "\"a\""),
        ("dyn(1) == dyn('1')", "false"),
        ("object.metadata.labels['app'] in ['web', 'db'] // a comment", "true"),
    ] {
        assert_eq!(evaluate(text), Ok(value.to_owned()), "{text}");
    }
}

#[test]
fn numbers_of_all_types_sort() {
    let near = "9007199254740993, 9007199254740992.0, 9007199254740992, 9007199254740993u";
    let numbers = vec![near; 20].join(", ");
    let sorted = evaluate(&format!("[{numbers}].map(x, dyn(x)).sort()[79] == 9007199254740993u"));
    let typed = evaluate(&format!("dyn([{}]).sortBy(x, -x).size()", numbers.replace('u', "")));
    assert_eq!((sorted, typed), (Ok("true".to_owned()), Ok("80".to_owned())));
}

#[test]
fn failures_are_worded_as_upstream_words_them() {
    for (text, message) in [
        ("object.spec.nope", "no such key: nope"),
        ("object.spec.containers[7]", "index out of bounds: 7"),
        ("1 / (object.spec.replicas - 3)", "division by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("object.metadata.name > 1", "no such overload"),
        ("object.metadata.name.foo", "no such overload"),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("optional.none().value()", "optional.none() dereference"),
        ("{'a': 1, 'a': 2}", "duplicate map key: a"),
        ("authorizer.path(' ')", "path must not be empty"),
        ("'abc'.substring(1, 4)", "index out of range: 4"),
    ] {
        assert_eq!(evaluate(text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn what_does_not_compile_is_explained() {
    for (text, message) in [
        ("nope == 1", "ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n | nope == 1\n | ^"),
        ("1 +\n  x.y", "ERROR: <input>:2:3: undeclared reference to 'x' (in container '')\n |   x.y\n | ..^"),
        ("self.nope", "ERROR: <input>:1:5: undefined field 'nope'\n | self.nope\n | ....^"),
        (
            "1 + 'a'",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^",
        ),
        (
            "'a'.contains(1)",
            "ERROR: <input>:1:13: found no matching overload for 'contains' applied to 'string.(int)'\n | \
             'a'.contains(1)\n | ............^",
        ),
        ("nope('x')", "ERROR: <input>:1:5: undeclared reference to 'nope' (in container '')\n | nope('x')\n | ....^"),
        (
            "1 +",
            "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', \
             'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^",
        ),
        ("a b", "ERROR: <input>:1:3: Syntax error: extraneous input 'b' expecting <EOF>\n | a b\n | ..^"),
        ("(1", "ERROR: <input>:1:3: Syntax error: missing ')' at '<EOF>'\n | (1\n | ..^"),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        (
            "self.count && true",
            "ERROR: <input>:1:5: expected type 'bool' but found 'int'\n | self.count && true\n | ....^",
        ),
        ("has(1)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(1)\n | ....^"),
        (
            "'a'.matches('(')",
            "ERROR: <input>:1:13: invalid regular expression argument: (\n | 'a'.matches('(')\n | ............^",
        ),
        ("duration('x')", "ERROR: <input>:1:10: invalid duration argument: x\n | duration('x')\n | .........^"),
        (
            "Object{spec: Object.status{a: 1}}",
            "ERROR: <input>:1:12: unexpected type name \"Object.status\", expected \"Object.spec\", which matches field name \
             path from root Object type\n | Object{spec: Object.status{a: 1}}\n | ...........^",
        ),
        ("for", "ERROR: <input>:1:1: reserved identifier: for\n | for\n | ^"),
        ("a # b", "ERROR: <input>:1:3: Syntax error: token recognition error at: '#'\n | a # b\n | ..^"),
    ] {
        assert_eq!(evaluate(text), Err(message.to_owned()), "{text}");
    }
}

/// None of these may take long, use much memory, overflow the stack or panic.
#[test]
fn hostile_expressions_are_stopped() {
    let limit = "operation cancelled: actual cost limit exceeded";
    let loops = "lists.range(1000).map(a, lists.range(1000).map(b, lists.range(1000).map(c, a * b * c)))";
    let doubling = (0..60).fold("'aaaaaaaaaaaaaaaa'".to_owned(), |text, _| format!("[{text}].map(x, x + x)[0]"));
    let lists =
        (0..40).fold("[1]".to_owned(), |text, _| format!("[{text}].map(x, [x, x])[0]")) + ".flatten(50).size() > 0";
    let equal = {
        let side = (0..40).fold("[1]".to_owned(), |text, _| format!("[{text}].map(x, [x, x])[0]"));
        format!("{side} == {side}")
    };
    for text in [loops, &*doubling, &*lists, &*equal, "lists.range(99999999)", "lists.range(9223372036854775807)"] {
        let found = evaluate(text);
        assert_eq!(found, Err(limit.to_owned()), "{}", &text[..text.len().min(80)]);
    }
    let deep = [
        "(".repeat(100_000),
        "[".repeat(90_000),
        "!".repeat(90_000) + "true",
        "-".repeat(90_000) + "1",
        "1".to_owned() + &"+1".repeat(40_000),
        "a".to_owned() + &".a".repeat(40_000),
        "a".to_owned() + &"[0]".repeat(30_000),
        "true?".repeat(10_000) + "1",
        "{1:".repeat(20_000),
        "x".repeat(200_000),
        "{{1: 1}: 1}".into(),
    ];
    for text in deep {
        assert!(environment().compile(&text).is_err(), "{}", &text[..20]);
    }
    let near = "(".repeat(95) + "1" + &")".repeat(95);
    assert_eq!(evaluate(&near), Ok("1".into()));
    let near = "[1].map(x, ".repeat(45) + "1" + &")".repeat(45) + " == []";
    assert!(evaluate(&near).is_ok());
    for text in [
        "'%.99999999f'.format([1.0])",
        "'a'.matches('((a{100}){100}){100}')",
        "'x'.replace('', object.metadata.name)",
        "{}.a.b",
        "Object{a: 1}.a{}",
        "b'\\xff'.size() == 1 && string(b'\\xff') == ''",
        "'\\ud800'",
        "duration('999999999999999999999h')",
        "timestamp('9999-12-31T23:59:59Z') + duration('9000000s')",
        "'é'.substring(1, 0)",
        "-9223372036854775808 / -1",
        "-(-9223372036854775808)",
        "int(1e300)",
        "authorizer.group('').resource('a').check('x').allowed() || authorizer.path('/').check('x').allowed() || \
         authorizer.path('/').check('y').allowed()",
    ] {
        assert!(evaluate(text).is_err() || text.starts_with("'x'.replace"), "{text}: {:?}", evaluate(text));
    }
}
