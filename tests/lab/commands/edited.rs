//! What opens an editor, and what prunes by a set: `create --edit`, `apply edit-last-applied`, `edit` that is refused,
//! `apply --applyset`.

use std::process::Stdio;

use super::with_each_kubectl;
use crate::harness::Kubectl;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: edited}\ndata: {a: '1'}\n";

/// Runs it with `sed` as the editor and `input` on standard input; what it prints and says.
fn edited(kubectl: &Kubectl, arguments: &[&str], expression: &str, input: &str) -> String {
    let mut command = kubectl.command();
    command.args(arguments).env("KUBE_EDITOR", format!("sed -i '{expression}'"));
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn objects_are_edited_before_and_after_they_are_made() {
    with_each_kubectl(|_, kubectl, _| {
        let said = edited(kubectl, &["create", "--edit", "-f", "-"], "s/a: \"1\"/a: \"2\"/", MAP);
        assert_eq!(said, "configmap/edited created\n");
        assert_eq!(kubectl.run("get configmap edited -o jsonpath={.data.a}"), "2");
        kubectl.run("delete configmap edited");

        kubectl.run_with("apply -f -", MAP);
        let arguments = ["apply", "edit-last-applied", "configmap/edited"];
        let said = edited(kubectl, &arguments, "s/a: \"1\"/a: \"7\"/", "");
        assert_eq!(said, "configmap/edited edited\n");
        assert!(kubectl.run("apply view-last-applied configmap/edited").contains("a: \"7\""));
        assert_eq!(kubectl.run("get configmap edited -o jsonpath={.data.a}"), "1", "only the annotation was edited");

        // What the server refuses is shown to the person again, in the editor, who gives up.
        let said = edited(kubectl, &["edit", "configmap/edited"], "s/  a: .*/  a b: x/", "");
        assert!(said.contains("configmaps \"edited\" is invalid\n"), "{said}");
        assert_eq!(kubectl.run("get configmap edited -o jsonpath={.data}"), r#"{"a":"1"}"#);
    });
}

#[test]
fn a_set_is_applied_and_pruned() {
    with_each_kubectl(|_, kubectl, _| {
        let apply = |input: &str| {
            let mut command = kubectl.command();
            command.env("KUBECTL_APPLYSET", "true");
            command.args(["apply", "--prune", "--applyset=configmaps/parent", "-f", "-"]);
            let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = streams.spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
        };
        let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n---\n");
        // kubectl makes the parent.
        let said = apply(&(map("one") + &map("two")));
        assert!(said.contains("configmap/one created\nconfigmap/two created\n"), "{said}");
        let said = apply(&map("one"));
        assert!(said.contains("configmap/two pruned"), "{said}");
        let labels = kubectl.run("get configmap one -o jsonpath={.metadata.labels}");
        assert!(labels.contains("applyset.kubernetes.io/part-of"), "{labels}");
        let parent = kubectl.run("get configmap parent -o jsonpath={.metadata.annotations}");
        assert!(parent.contains("applyset.kubernetes.io/tooling"), "{parent}");
        assert!(kubectl.fail("get configmap two", "").contains("\"two\" not found"));
    });
}
