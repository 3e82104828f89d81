//! `patch`, `replace`, `edit`, `set`, `scale`, `label` and `annotate`.

use super::{expect, with_each_kubectl};

const THINGS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: nginx}, {name: side, image: busybox, command: [sleep, '60']}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: one, labels: {set: yes-it-is}}
data: {a: '1'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, labels: {set: yes-it-is}}
data: {LEVEL: debug}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: ann}]
";

#[test]
fn objects_are_changed_in_every_way() {
    with_each_kubectl(|_, kubectl, namespace| {
        kubectl.run_with("create -f -", THINGS);
        expect(kubectl, namespace, PATCHED);
        expect(kubectl, namespace, SET);
        expect(kubectl, namespace, SCALED);
        let stale = kubectl.fail("scale deployment web --replicas=4 --resource-version=1", "");
        assert!(stale.starts_with("error: Expected resource version to be 1, was "), "{stale}");
        expect(kubectl, namespace, LABELED);
        let stale = kubectl.run("get configmap one -o yaml");
        expect(kubectl, namespace, &[("annotate configmap one newer=yes", "configmap/one {annotated}")]);
        assert_eq!(
            kubectl.fail("replace -f -", &stale),
            "Error from server (Conflict): error when replacing \"STDIN\": Operation cannot be fulfilled on configmaps \"one\": \
             the object has been modified; please apply your changes to the latest version and try again\n"
        );
        let free = "{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {b: '2'}}";
        assert_eq!(kubectl.run_with("replace -f -", free), "configmap/one replaced\n");
        assert_eq!(kubectl.run("get configmap one -o jsonpath={.data}{.metadata.labels}"), r#"{"b":"2"}"#);
        let uid = kubectl.run("get configmap one -o jsonpath={.metadata.uid}");
        assert_eq!(
            kubectl.run_with("replace --force -f -", free),
            "configmap \"one\" deleted\nconfigmap/one replaced\n"
        );
        assert_ne!(kubectl.run("get configmap one -o jsonpath={.metadata.uid}"), uid);
        let missing = free.replace("one", "gone");
        assert_eq!(
            kubectl.fail("replace -f -", &missing),
            "Error from server (NotFound): error when replacing \"STDIN\": configmaps \"gone\" not found\n"
        );
        assert_eq!(kubectl.edit("configmap/one", "s/b: \"2\"/b: \"3\"/"), "configmap/one edited\n");
        assert_eq!(kubectl.run("get configmap one -o jsonpath={.data.b}"), "3");
        assert_eq!(kubectl.edit("configmap/one", "s/nothing/at all/"), "");
    });
}

const PATCHED: &[(&str, &str)] = &[
    (
        r#"patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"busybox:2"}]}}}}'"#,
        "deployment.apps/web patched",
    ),
    ("get deployment web -o jsonpath={.spec.template.spec.containers[*].image}", "nginx busybox:2"),
    (
        r#"patch deployment web --type=strategic -p '{"spec":{"replicas":0}}'"#,
        "deployment.apps/web patched (no change)",
    ),
    (
        r#"patch deployment web --type=merge -p '{"metadata":{"labels":{"app":null,"x":"y"}}}'"#,
        "deployment.apps/web patched",
    ),
    ("get deployment web -o jsonpath={.metadata.labels}", r#"{"x":"y"}"#),
    (
        r#"patch deployment web --type=json -p '[{"op":"add","path":"/metadata/labels/z","value":"1"}]'"#,
        "deployment.apps/web patched",
    ),
    (r#"patch deployment web --type=json -p '[{"op":"remove","path":"/spec/nothing"}]'"#, JSON_PATCH),
    (r#"patch deployment web --type=json -p '[{"op":"test","path":"/spec/replicas","value":7}]'"#, JSON_TEST),
    (r#"patch deployment web --type=merge -p '{"spec":{"replicas":-1}}'"#, NEGATIVE),
    (r#"patch deployment web --type=merge -p '{"spec":{"selector":{"matchLabels":{"app":"other"}}}}'"#, SELECTOR),
    (
        r#"patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":1}}'"#,
        "scale.autoscaling/web patched",
    ),
    ("get deployment web --subresource=scale -o jsonpath={.spec.replicas},{.status.selector}", "1,app=web"),
    (
        r#"patch deployment web --subresource=status --type=merge -p '{"spec":{"replicas":9}}'"#,
        "deployment.apps/web patched (no change)",
    ),
    (r#"patch configmap one --dry-run=server -p '{"data":{"a":"2"}}'"#, "configmap/one patched"),
    ("get configmap one -o jsonpath={.data.a}", "1"),
    (r#"patch configmap gone -p '{}'"#, "Error from server (NotFound): configmaps \"gone\" not found"),
    (r#"patch deployment web -p '{"spec":{"replicas":0}}'"#, "deployment.apps/web patched"),
];

const JSON_PATCH: &str = "The request is invalid: the server rejected our request due to an error in our request";
const JSON_TEST: &str = "The request is invalid: the server rejected our request due to an error in our request";
const NEGATIVE: &str =
    "The Deployment \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
const SELECTOR: &str = "The Deployment \"web\" is invalid: \n* spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`\n* spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable";

const SET: &[(&str, &str)] = &[
    ("set image deployment/web web=nginx:1.27 side=busybox:3", "deployment.apps/web image updated"),
    ("set image deployment/web *=nginx:1.28", "deployment.apps/web image updated"),
    ("get deployment web -o jsonpath={.spec.template.spec.containers[*].image}", "nginx:1.28 nginx:1.28"),
    ("set image deployment/web other=nginx", "error: unable to find container named \"other\""),
    ("set env deployment/web COLOR=blue -c web", "deployment.apps/web env updated"),
    ("set env deployment/web --from=configmap/two -c web --prefix=MY_", "deployment.apps/web env updated"),
    (
        "set env deployment/web --list -c web",
        "# Deployment web, container web\nCOLOR=blue\n# MY_LEVEL from configmap two, key LEVEL",
    ),
    ("set env deployment/web COLOR- MY_LEVEL-", "deployment.apps/web env updated"),
    ("get deployment web -o jsonpath={.spec.template.spec.containers[*].env}", ""),
    (
        "set resources deployment web -c=web --limits=cpu=200m,memory=512Mi --requests=cpu=0.1",
        "deployment.apps/web resource requirements updated",
    ),
    (
        "get deployment web -o jsonpath={.spec.template.spec.containers[0].resources}",
        r#"{"limits":{"cpu":"200m","memory":"512Mi"},"requests":{"cpu":"100m"}}"#,
    ),
    ("set resources deployment web -c=web --limits=cpu=10m", CPU),
    ("set selector service web app=web,tier=front", "service/web selector updated"),
    ("get service web -o jsonpath={.spec.selector}", r#"{"app":"web","tier":"front"}"#),
    ("set serviceaccount deployment web robot", "deployment.apps/web serviceaccount updated"),
    (
        "get deployment web -o jsonpath={.spec.template.spec.serviceAccountName},{.spec.template.spec.serviceAccount}",
        "robot,robot",
    ),
    (
        "set subject rolebinding viewers --user=bob --serviceaccount={ns}:robot",
        "rolebinding.rbac.authorization.k8s.io/viewers subjects updated",
    ),
    ("get rolebinding viewers -o jsonpath={.subjects[*].name}", "ann bob robot"),
];

const CPU: &str = "error: failed to patch resources update to pod template Deployment.apps \"web\" is invalid: spec.template.spec.containers[0].resources.requests: Invalid value: \"100m\": must be less than or equal to cpu limit of 10m";

const SCALED: &[(&str, &str)] = &[
    ("scale deployment web --replicas=2", "deployment.apps/web scaled"),
    ("scale deployment web --replicas=3 --current-replicas=1", "error: Expected replicas to be 1, was 2"),
    ("scale deployment web --replicas=3 --current-replicas=2", "deployment.apps/web scaled"),
    (
        "scale deployment web --replicas=-1",
        "error: The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
    ),
    ("scale --replicas=0 deployment/web", "deployment.apps/web scaled"),
    (
        "scale configmap one --replicas=1",
        "Error from server (NotFound): the server could not find the requested resource",
    ),
    ("get deployment web -o jsonpath={.spec.replicas}", "0"),
];

const LABELED: &[(&str, &str)] = &[
    ("label configmap one a=b c=d", "configmap/one labeled"),
    ("label configmap one a=b", "configmap/one not labeled"),
    ("label configmap one a=x", "error: 'a' already has a value (b), and --overwrite is false"),
    ("label configmap one a=x --overwrite", "configmap/one labeled"),
    ("label configmap one a-", "configmap/one unlabeled"),
    ("label configmap one gone-", "label \"gone\" not found.\nconfigmap/one not labeled"),
    ("label configmap one c=e --overwrite --resource-version=1", CONFLICT),
    (
        "label configmap one -bad=x",
        "error: unknown shorthand flag: 'b' in -bad=x\nSee 'kubectl label --help' for usage.",
    ),
    ("label configmap one k=not/a/value", LABEL_VALUE),
    ("label configmaps -l set=yes-it-is group=g", "configmap/one labeled\nconfigmap/two labeled"),
    ("label namespace {ns} --list", "kubernetes.io/metadata.name={ns}"),
    ("label --all services by=all", "service/web labeled"),
    ("label configmap one dry=run --dry-run=server", "configmap/one labeled (server dry run)"),
    ("get configmap one -o jsonpath={.metadata.labels}", r#"{"c":"d","group":"g","set":"yes-it-is"}"#),
    ("annotate configmap one note=hello", "configmap/one {annotated}"),
    (
        "annotate configmap one note=bye",
        "error: --overwrite is false but found the following declared annotation(s): 'note' already has a value (hello)",
    ),
    ("annotate configmap one note=bye --overwrite", "configmap/one {annotated}"),
    ("annotate configmap one --list", "note=bye"),
    ("annotate configmap one note-", "configmap/one {annotated}"),
    ("annotate configmap one x=y --resource-version=1", CONFLICT),
    (
        "annotate configmaps --all every=one",
        "configmap/kube-root-ca.crt {annotated}\nconfigmap/one {annotated}\nconfigmap/two {annotated}",
    ),
    ("get configmap one -o jsonpath={.metadata.annotations}", r#"{"every":"one"}"#),
];

const CONFLICT: &str = "Error from server (Conflict): Operation cannot be fulfilled on configmaps \"one\": the object has been modified; please apply your changes to the latest version and try again";
const LABEL_VALUE: &str = "error: invalid label value: \"k=not/a/value\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
