//! `kubectl create` with all its generators, `run`, `expose` and `autoscale`.

use std::fs;

use super::{expect, with_each_kubectl};

#[test]
fn every_generator_makes_its_object() {
    with_each_kubectl(|lab, kubectl, namespace| {
        let pki = lab.data_dir().join("pki");
        let tls =
            format!("create secret tls served --cert={0}/apiserver-1.crt --key={0}/apiserver-1.key", pki.display());
        fs::write(lab.data_dir().join("app.env"), "LEVEL=debug\nCOLOR=blue\n").unwrap();
        let environment = format!("create configmap environment --from-env-file={}/app.env", lab.data_dir().display());
        let file = format!("create configmap file --from-file=settings={}/app.env", lab.data_dir().display());
        expect(kubectl, namespace, &[(&tls, "secret/served created"), (&environment, "configmap/environment created")]);
        expect(kubectl, namespace, &[(&file, "configmap/file created")]);
        expect(kubectl, namespace, GENERATORS);
        expect(kubectl, namespace, MADE);
        let token = kubectl.run("create token robot --duration=20m --audience=lab");
        assert_eq!(token.trim().split('.').count(), 3, "{token}");
        let bound = kubectl.run("create token robot --bound-object-kind=Secret --bound-object-name=plain");
        assert_eq!(bound.trim().split('.').count(), 3, "{bound}");
    });
}

const GENERATORS: &[(&str, &str)] = &[
    ("create namespace {ns}-more", "namespace/{ns}-more created"),
    ("create namespace {ns}-more", "Error from server (AlreadyExists): namespaces \"{ns}-more\" already exists"),
    ("create configmap plain --from-literal=a=1 --from-literal=b=2", "configmap/plain created"),
    ("create configmap plain", "error: failed to create configmap: configmaps \"plain\" already exists"),
    ("create configmap Plain", CONFIG_MAP_NAME),
    ("create configmap dry --from-literal=a=1 --dry-run=server", "configmap/dry created (server dry run)"),
    ("create configmap dry --from-literal=a=1 --dry-run=client -o name", "configmap/dry"),
    ("get configmap dry", "Error from server (NotFound): configmaps \"dry\" not found"),
    ("create secret generic plain --from-literal=user=me --type=example.com/user", "secret/plain created"),
    (
        "create secret docker-registry hub --docker-server=hub.example.com --docker-username=u --docker-password=p",
        "secret/hub created",
    ),
    ("create deployment web --image=nginx --replicas=2 --port=80", "deployment.apps/web created"),
    ("create deployment two --image=nginx --image=busybox --replicas=0", "deployment.apps/two created"),
    ("create deployment busy --image=busybox --replicas=0 -- sleep 60", "deployment.apps/busy created"),
    ("create service clusterip inner --tcp=80:8080 --tcp=443", "service/inner created"),
    ("create service clusterip headless --clusterip=None", "service/headless created"),
    ("create service nodeport outer --tcp=80", "service/outer created"),
    ("create service loadbalancer balanced --tcp=80:web", "service/balanced created"),
    ("create service externalname elsewhere --external-name=example.com", "service/elsewhere created"),
    ("create job once --image=busybox -- sleep 1", "job.batch/once created"),
    (
        "create cronjob nightly --image=busybox '--schedule=0 2 * * *' --restart=Never -- date",
        "cronjob.batch/nightly created",
    ),
    ("create job by-hand --from=cronjob/nightly", "job.batch/by-hand created"),
    ("create quota cap --hard=pods=50,services=20 --scopes=NotTerminating", QUOTA_SCOPE),
    ("create quota cap --hard=pods=50", "resourcequota/cap created"),
    (
        "create role reader --verb=get,list --resource=pods,deployments.apps",
        "role.rbac.authorization.k8s.io/reader created",
    ),
    (
        "create role one --verb=get --resource=configmaps --resource-name=plain",
        "role.rbac.authorization.k8s.io/one created",
    ),
    (
        "create clusterrole {ns}-metrics --verb=get --non-resource-url=/metrics",
        "clusterrole.rbac.authorization.k8s.io/{ns}-metrics created",
    ),
    (
        "create clusterrole {ns}-sum --aggregation-rule=sum={ns}",
        "clusterrole.rbac.authorization.k8s.io/{ns}-sum created",
    ),
    ("create serviceaccount robot", "serviceaccount/robot created"),
    (
        "create rolebinding readers --role=reader --user=ann --group=team --serviceaccount={ns}:robot",
        "rolebinding.rbac.authorization.k8s.io/readers created",
    ),
    (
        "create clusterrolebinding {ns}-view --clusterrole=view --group=team",
        "clusterrolebinding.rbac.authorization.k8s.io/{ns}-view created",
    ),
    (
        "create ingress web --class=nginx --rule=example.com/api*=web:80,tls=served --rule=example.com/exact=web:http --annotation=a=b",
        "ingress.networking.k8s.io/web created",
    ),
    ("create poddisruptionbudget web --selector=app=web --min-available=1", "poddisruptionbudget.policy/web created"),
    (
        "create priorityclass {ns}-high --value=1000 --description=first --preemption-policy=Never",
        "priorityclass.scheduling.k8s.io/{ns}-high created",
    ),
    ("run one --image=nginx --labels=a=b,c=d --port=80 --env=X=y --restart=Never", "pod/one created"),
    ("run two --image=nginx --port=8080 --expose", "service/two created\npod/two created"),
    ("run three --image=busybox --dry-run=server -- sleep 60", "pod/three created (server dry run)"),
    ("run none --image=Not%An%Image", "error: Invalid image name \"Not%An%Image\": invalid reference format"),
    ("expose deployment web --name=front --port=80 --target-port=8080 --type=NodePort", "service/front exposed"),
    ("expose pod one --port=80 --selector=a=b", "service/one exposed"),
    ("expose service inner --name=inner-2 --port=90", "service/inner-2 exposed"),
    ("autoscale deployment web --min=2 --max=5 --cpu-percent=80", "horizontalpodautoscaler.autoscaling/web autoscaled"),
];

const CONFIG_MAP_NAME: &str = "error: failed to create configmap: ConfigMap \"Plain\" is invalid: metadata.name: Invalid value: \"Plain\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const QUOTA_SCOPE: &str = "error: failed to create quota: ResourceQuota \"cap\" is invalid: spec.scopes: Invalid value: [\"NotTerminating\"]: unsupported scope applied to resource";

const MADE: &[(&str, &str)] = &[
    ("get configmap plain -o jsonpath={.data}", r#"{"a":"1","b":"2"}"#),
    ("get configmap environment -o jsonpath={.data}", r#"{"COLOR":"blue","LEVEL":"debug"}"#),
    ("get configmap file -o jsonpath={.data}", r#"{"settings":"LEVEL=debug\nCOLOR=blue\n"}"#),
    ("get secret plain -o jsonpath={.type}:{.data}", r#"example.com/user:{"user":"bWU="}"#),
    ("get secret hub -o jsonpath={.type}", "kubernetes.io/dockerconfigjson"),
    (
        "get secret served -o 'go-template={{range $k, $v := .data}}{{$k}},{{end}}{{.type}}'",
        "tls.crt,tls.key,kubernetes.io/tls",
    ),
    (
        "get deployment web -o jsonpath={.spec.replicas},{.spec.template.spec.containers[0].ports[0].containerPort}",
        "2,80",
    ),
    ("get deployment two -o jsonpath={.spec.template.spec.containers[*].name}", "nginx busybox"),
    ("get deployment busy -o jsonpath={.spec.template.spec.containers[0].command}", r#"["sleep","60"]"#),
    ("get service inner -o jsonpath={.spec.ports[*].name}:{.spec.ports[0].targetPort}", "80-8080 443:8080"),
    ("get service headless -o jsonpath={.spec.clusterIP}", "None"),
    (
        "get service balanced -o jsonpath={.spec.type},{.spec.ports[0].targetPort},{.spec.allocateLoadBalancerNodePorts}",
        "LoadBalancer,web,true",
    ),
    ("get service elsewhere -o jsonpath={.spec.type},{.spec.externalName}", "ExternalName,example.com"),
    (
        "get job by-hand -o jsonpath={.metadata.annotations}{.metadata.ownerReferences[0].kind}",
        r#"{"cronjob.kubernetes.io/instantiate":"manual"}CronJob"#,
    ),
    (
        "get role reader -o jsonpath={.rules}",
        r#"[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]},{"apiGroups":["apps"],"resources":["deployments"],"verbs":["get","list"]}]"#,
    ),
    (
        "get clusterrole {ns}-sum -o jsonpath={.aggregationRule.clusterRoleSelectors[0].matchLabels}",
        r#"{"sum":"{ns}"}"#,
    ),
    ("get rolebinding readers -o jsonpath={.subjects[*].kind}", "User Group ServiceAccount"),
    (
        "get ingress web -o jsonpath={.spec.rules[0].http.paths[*].pathType}:{.spec.tls[0].secretName}",
        "Prefix Exact:served",
    ),
    ("get pdb web -o jsonpath={.spec.minAvailable}", "1"),
    ("get priorityclass {ns}-high -o jsonpath={.value},{.globalDefault},{.preemptionPolicy}", "1000,,Never"),
    ("get pod one -o jsonpath={.spec.restartPolicy},{.spec.containers[0].env[0].value}", "Never,y"),
    ("get service one -o jsonpath={.spec.selector}", r#"{"a":"b"}"#),
    ("get service inner-2 -o jsonpath={.spec.selector},{.spec.ports[0].port}", r#"{"app":"inner"},90"#),
    ("get hpa web -o jsonpath={.spec.metrics[0].resource.target.averageUtilization}", "80"),
    ("get horizontalpodautoscalers.v1.autoscaling web -o jsonpath={.spec.targetCPUUtilizationPercentage}", "80"),
];
