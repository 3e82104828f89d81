//! The examples of the texts that kubelab is made after, typed as they type them, where no other test has them: pods with
//! several containers, what runs before and beside them, jobs, a set of daemons.

use crate::harness::{Kubectl, Lab};

fn apply(kubectl: &Kubectl, manifest: &str) {
    kubectl.run_with("apply -f -", manifest);
}

const HELLO: &str = "
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: nginx
    image: nginxdemos/hello:plain-text
    ports: [{name: http, containerPort: 80, protocol: TCP}]
  - name: debug
    image: posquit0/doraemon:latest
";

const MULTI: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: multi-container-pod}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: nginx
    image: nginx
    ports: [{containerPort: 80}]
    volumeMounts: [{name: shared-data, mountPath: /usr/share/nginx/html}]
  - name: debian
    image: debian
    command: ["/bin/sh"]
    args: ["-c", "while true; do date >> /pod-data/index.html; sleep 10; done"]
    volumeMounts: [{name: shared-data, mountPath: /pod-data}]
  volumes:
  - name: shared-data
    emptyDir: {}
"#;

const INIT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: init-demo}
spec:
  initContainers:
  - name: install
    image: busybox
    command: [wget, "-O", "/work-dir/index.html", http://example.com]
    volumeMounts: [{name: workdir, mountPath: "/work-dir"}]
  containers:
  - name: nginx
    image: nginx
    ports: [{containerPort: 80}]
    volumeMounts: [{name: workdir, mountPath: /usr/share/nginx/html}]
  volumes:
  - name: workdir
    emptyDir: {}
"#;

#[test]
fn pods_of_several_containers() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    apply(&kubectl, HELLO);
    kubectl.run("wait pod/hello --for=condition=Ready --timeout=60s");
    assert!(kubectl.run("get pod hello --no-headers").contains("2/2"));
    // The containers share an address, so the tools of one look at the server of the other.
    let page = kubectl.run("exec hello -c debug -- bash -c 'curl -s localhost'");
    assert!(page.contains("Server name: hello\n"), "{page}");
    kubectl.run("logs pod/hello -c debug");
    kubectl.wait_until("logs pod/hello -c nginx", |text| text.contains("\"GET / HTTP/1.1\" 200"));
    let described = kubectl.run("describe pod hello");
    assert!(described.contains("posquit0/doraemon:latest") && described.contains("Started"), "{described}");
    kubectl.run("delete pod/hello --timeout=60s");

    apply(&kubectl, MULTI);
    kubectl.run("wait pod/multi-container-pod --for=condition=Ready --timeout=60s");
    let page = "get --raw /api/v1/namespaces/default/pods/multi-container-pod:80/proxy/";
    kubectl.wait_until(page, |text| text.contains(" UTC ") && text.lines().count() >= 2);
    assert!(kubectl.fail("logs multi-container-pod -c none", "").contains("container none is not valid for pod"));

    apply(&kubectl, INIT);
    kubectl.run("wait pod/init-demo --for=condition=Ready --timeout=60s");
    let init = "get pod init-demo -o jsonpath={.status.initContainerStatuses[0].state.terminated.reason}";
    assert_eq!(kubectl.run(init), "Completed");
    let page = kubectl.run("get --raw /api/v1/namespaces/default/pods/init-demo:80/proxy/");
    assert!(page.contains("<h1>Example Domain</h1>"), "{page}");
}

const PI: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: pi}
spec:
  template:
    spec:
      containers:
      - name: pi
        image: perl
        command: ["perl",  "-Mbignum=bpi", "-wle", "print bpi(2000)"]
      restartPolicy: Never
  backoffLimit: 4
  completions: 1
  parallelism: 1
"#;

const PARALLEL: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: parallel-job}
spec:
  completions: 10
  parallelism: 3
  template:
    spec:
      containers:
      - name: worker
        image: busybox
        command: ["sh", "-c", "echo Processing && sleep 10"]
      restartPolicy: OnFailure
"#;

const MIGRATION: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: data-migration}
spec:
  completions: 5
  parallelism: 2
  backoffLimit: 3
  ttlSecondsAfterFinished: 3600
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: migrator
        image: migration:latest
        command:
        - /bin/sh
        - -c
        - |
          echo "Starting migration batch ${JOB_COMPLETION_INDEX}"
          migrate --batch=${JOB_COMPLETION_INDEX}
"#;

const BACKUPS: &str = r#"
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup-job}
spec:
  schedule: "0 2 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          containers:
          - name: backup
            image: backup-tool
            command: ["/bin/sh", "-c", "backup.sh"]
          restartPolicy: OnFailure
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 1
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: database-backup}
spec:
  schedule: "0 2 * * *"
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 300
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          volumes: [{name: backup, emptyDir: {}}]
          containers:
          - name: backup
            image: postgres:13
            volumeMounts: [{name: backup, mountPath: /backup}]
            command:
            - /bin/bash
            - -c
            - |
              BACKUP_FILE="/backup/db_$(date +%Y%m%d_%H%M%S).sql"
              pg_dump $DATABASE_URL > $BACKUP_FILE
              ls /backup
              aws s3 cp $BACKUP_FILE s3://backup-bucket/database/
              rm $BACKUP_FILE
"#;

#[test]
fn jobs_do_their_work() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    for manifest in [PI, PARALLEL, MIGRATION, BACKUPS] {
        apply(&kubectl, manifest);
    }
    kubectl.run("create job --from=cronjob/backup-job manual-backup");
    kubectl.run("create job --from=cronjob/database-backup manual-database-backup");
    for job in ["pi", "data-migration", "manual-backup", "manual-database-backup", "parallel-job"] {
        kubectl.run(&format!("wait job/{job} --for=condition=Complete --timeout=110s"));
    }
    let pi = kubectl.run("logs job/pi");
    assert!(pi.starts_with("3.14159265358979323846") && pi.trim_end().len() == 2001, "{pi}");
    assert_eq!(kubectl.run("logs job/parallel-job").trim_end(), "Processing");
    assert!(kubectl.run("get job parallel-job --no-headers").contains("10/10"));
    assert!(kubectl.run("logs job/data-migration").starts_with("Starting migration batch"));
    let backup = kubectl.run("logs job/manual-database-backup");
    assert!(backup.starts_with("db_20") && backup.contains(".sql\n"), "{backup}");
    assert!(backup.contains("aws: command not found"), "as in the real image: {backup}");
    kubectl.run("delete job pi --timeout=60s");
    kubectl.wait_until("get pods -l job-name=pi", |text| text.contains("No resources found"));
}

const COLLECTOR: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: log-collector, namespace: kube-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fluentd-config, namespace: kube-system}
data: {fluent.conf: "<source></source>\n"}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: log-collector, namespace: kube-system}
spec:
  selector: {matchLabels: {name: log-collector}}
  template:
    metadata: {labels: {name: log-collector}}
    spec:
      serviceAccountName: log-collector
      hostNetwork: true
      hostPID: true
      containers:
      - name: fluentd
        image: fluentd:v1.14
        resources: {limits: {memory: 512Mi, cpu: 100m}}
        volumeMounts:
        - {name: varlog, mountPath: /var/log, readOnly: true}
        - {name: containers, mountPath: /var/lib/docker/containers, readOnly: true}
        - {name: config, mountPath: /fluentd/etc}
        env:
        - {name: ELASTICSEARCH_HOST, value: "elasticsearch.logging.svc.cluster.local"}
      volumes:
      - name: varlog
        hostPath: {path: /var/log}
      - name: containers
        hostPath: {path: /var/lib/docker/containers}
      - name: config
        configMap: {name: fluentd-config}
      nodeSelector: {node-type: worker}
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
"#;

#[test]
fn a_collector_reads_the_logs_of_its_node() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    apply(&kubectl, COLLECTOR);
    kubectl.run("label node node-1 node-type=worker");
    kubectl.run("rollout status daemonset/log-collector -n kube-system --timeout=60s");
    let pods = "get pods -n kube-system -l name=log-collector -o jsonpath={.items[*].spec.nodeName}";
    assert_eq!(kubectl.run(pods), "node-1");
    let (pod, node) = ("{.items[0].status.podIP}", "{.items[0].status.hostIP}");
    let get = "get pods -n kube-system -l name=log-collector -o";
    assert_eq!(kubectl.run(&format!("{get} jsonpath={pod}")), kubectl.run(&format!("{get} jsonpath={node}")));

    let speaks = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"speaks"},"spec":{"nodeName":"node-1","containers":[
        {"name":"c","image":"busybox","command":["sh","-c","echo collected; sleep 600"]}]}}"#;
    apply(&kubectl, speaks);
    kubectl.run("wait pod/speaks --for=condition=Ready --timeout=60s");
    let exec = |command: &str| format!("exec -n kube-system daemonset/log-collector -- {command}");
    kubectl.wait_until(&exec("sh -c 'cat /var/log/pods/default_speaks_*/c/0.log'"), |text| text.contains("collected"));
    assert_eq!(kubectl.run(&exec("cat /fluentd/etc/fluent.conf")), "<source></source>\n");
    let refused = kubectl.fail(&exec("touch /var/log/x"), "");
    assert!(refused.contains("Read-only file system"), "{refused}");

    // The next node that becomes a worker gets one, too.
    kubectl.run("label node node-2 node-type=worker");
    kubectl
        .wait_until("get daemonset log-collector -n kube-system -o jsonpath={.status.numberReady}", |text| text == "2");
}
